#include "net/server_tls.h"

#include <string_view>

#include <fmt/core.h>
#include <openssl/err.h>

#include "base/error.h"

namespace minke {
namespace {

std::string openssl_says() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code ? ERR_reason_error_string(code) : nullptr;
  ERR_clear_error();
  return reason ? reason : "unknown reason";
}

// Without it OpenSSL would ask for a password on the terminal.
int no_password(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

void use_certificate(SSL_CTX* context, const fs::path& file) {
  if (SSL_CTX_use_certificate_chain_file(context, file.c_str()) != 1)
    throw Error(fmt::format("cannot be used as a certificate: {}", openssl_says()), file.string(),
                "a PEM file is expected, with the chain behind the certificate");
}

void use_key(SSL_CTX* context, const fs::path& file, const fs::path& certificate) {
  bool password_asked = false;
  SSL_CTX_set_default_passwd_cb(context, no_password);
  SSL_CTX_set_default_passwd_cb_userdata(context, &password_asked);
  const int used = SSL_CTX_use_PrivateKey_file(context, file.c_str(), SSL_FILETYPE_PEM);
  SSL_CTX_set_default_passwd_cb(context, nullptr);
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  const std::string reason = used == 1 ? "" : openssl_says();
  if (password_asked)
    throw Error("the key is protected by a password", file.string(),
                "openssl pkey -in KEY -out PLAIN_KEY removes it");
  if (used != 1 && reason.find("mismatch") == std::string::npos)
    throw Error(fmt::format("cannot be used as a private key: {}", reason), file.string(),
                "a PEM file is expected");
  if (used != 1 || SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    throw Error(fmt::format("it is not the key of the certificate {}", certificate.string()), file.string());
  }
}

// A client that offers protocols but not ours is refused, as RFC 7301 section 3.2 asks.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                    unsigned in_size, void*) {
  std::string_view offers(reinterpret_cast<const char*>(in), in_size);
  while (!offers.empty()) {
    const auto size = static_cast<unsigned char>(offers[0]);
    const std::string_view name = offers.substr(1, size);
    if (name == "http/1.1") {
      *out = reinterpret_cast<const unsigned char*>(name.data());
      *out_size = size;
      return SSL_TLSEXT_ERR_OK;
    }
    offers.remove_prefix(std::min<size_t>(1 + size, offers.size()));
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

TlsContext server_tls(const fs::path& certificate, const fs::path& key) {
  TlsContext context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context) throw Error(fmt::format("TLS cannot be set up: {}", openssl_says()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);  // idle connections keep none
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  use_certificate(context.get(), certificate);
  use_key(context.get(), key, certificate);
  return context;
}

}  // namespace minke

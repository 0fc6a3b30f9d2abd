#pragma once
// A server's side of TLS, as OpenSSL has it.

#include <memory>

#include <openssl/ssl.h>

#include "base/file.h"

namespace minke {

using TlsContext = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

// TLS 1.2 and 1.3 with this certificate (PEM, its chain behind it) and its key; http/1.1 is what is chosen by
// ALPN. Throws Error naming the file that is missing, is no PEM, is protected by a password, or belongs to
// another certificate.
TlsContext server_tls(const fs::path& certificate, const fs::path& key);

}  // namespace minke

#include "hub/digest.h"

#include <algorithm>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/error.h"

namespace minke {

struct Digest::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

Digest::Digest(DigestKind kind, uint64_t size) : state_(std::make_unique<State>()) {
  const EVP_MD* const type = kind == DigestKind::sha256 ? EVP_sha256() : EVP_sha1();
  MINKE_CHECK(EVP_DigestInit_ex(state_->context.get(), type, nullptr) == 1);
  if (kind == DigestKind::git_blob) {
    const std::string header = fmt::format("blob {}", size);
    add(as_bytes({header.c_str(), header.size() + 1}));
  }
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::add(Bytes bytes) {
  MINKE_CHECK(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1);
}

std::string Digest::hex() {
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  MINKE_CHECK(EVP_DigestFinal_ex(state_->context.get(), raw, &size) == 1);
  std::string out;
  for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", raw[i]);
  return out;
}

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace minke

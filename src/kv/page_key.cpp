#include "kv/page_key.h"

namespace minke {

PageKey first_key(std::string_view identity, std::string_view salt) {
  Hasher128 hasher;
  hasher.add(identity);
  hasher.add(std::string_view("\0", 1));
  hasher.add(salt);
  return hasher.hash();
}

PageKey next_key(const PageKey& before, std::span<const int32_t> tokens) {
  Hasher128 hasher;
  hasher.add(std::as_bytes(std::span(&before, 1)));
  hasher.add(std::as_bytes(tokens));
  return hasher.hash();
}

}  // namespace minke

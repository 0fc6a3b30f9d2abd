#include "text/fingerprint.h"

#include <span>

namespace minke {

Hash128 fingerprint(const Tokenizer& tokenizer) {
  Hasher128 hasher;
  for (Token id = 0; id < tokenizer.size(); ++id) {
    if (tokenizer.is_unused(id)) continue;
    const std::string_view bytes = tokenizer.bytes(id);
    const uint32_t head[] = {static_cast<uint32_t>(id), static_cast<uint32_t>(bytes.size()),
                             tokenizer.is_added(id) ? 1u : 0u};
    hasher.add(std::as_bytes(std::span(head)));
    hasher.add(bytes);
  }
  return hasher.hash();
}

}  // namespace minke

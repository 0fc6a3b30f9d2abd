#include "text/fingerprint.h"

#include <memory>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <fmt/format.h>

namespace minke {

Fingerprint fingerprint(const Tokenizer& tokenizer) {
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                              &XXH3_freeState);
  XXH3_128bits_reset(state.get());
  for (Token id = 0; id < tokenizer.size(); ++id) {
    if (tokenizer.is_unused(id)) continue;
    const std::string_view bytes = tokenizer.bytes(id);
    const uint32_t head[] = {static_cast<uint32_t>(id), static_cast<uint32_t>(bytes.size()),
                             tokenizer.is_added(id) ? 1u : 0u};
    XXH3_128bits_update(state.get(), head, sizeof head);
    XXH3_128bits_update(state.get(), bytes.data(), bytes.size());
  }
  const XXH128_hash_t h = XXH3_128bits_digest(state.get());
  return {h.high64, h.low64};
}

std::string hex(const Fingerprint& f) { return fmt::format("{:016x}{:016x}", f[0], f[1]); }

}  // namespace minke

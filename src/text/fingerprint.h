#pragma once
// Which tokenizer made some tokens: a hash that travels with them.

#include <array>
#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace minke {

using Fingerprint = std::array<uint64_t, 2>;

// XXH3 (128 bits) of what every id stands for, and whether text can give it only as an added token. Padding
// ids do not count, so that a tokenizer.json and the GGUF file made from it agree.
Fingerprint fingerprint(const Tokenizer& tokenizer);
std::string hex(const Fingerprint& f);  // 32 digits

}  // namespace minke

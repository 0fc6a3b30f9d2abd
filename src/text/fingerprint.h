#pragma once
// Which tokenizer made some tokens: a hash that travels with them.

#include "base/hash128.h"
#include "text/tokenizer.h"

namespace minke {

// Of what every id stands for, and whether text can give it only as an added token. Padding ids do not count,
// so that a tokenizer.json and the GGUF file made from it agree.
Hash128 fingerprint(const Tokenizer& tokenizer);

}  // namespace minke

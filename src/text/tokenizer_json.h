#pragma once
// The parts of a tokenizer.json that are rules (normaliser, pre-tokeniser), read into ours.

#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace minke {

// Each throws Error naming the field at fault: missing, of a wrong type, unknown, or of a kind that is not
// supported.
std::vector<NormalizerStep> read_normalizer(const Json& normalizer);
// The last step must be ByteLevel: anything else is not byte-level BPE.
std::vector<SplitRule> read_pre_tokenizer(const Json& pre_tokenizer);

// Runs f, and lets its errors name the field.
template <typename F>
decltype(auto) in_field(std::string_view field, F&& f) {
  try {
    return f();
  } catch (const Error& error) {
    throw error.within(field);
  }
}

// Throws Error naming a member of the object that is not among `known`.
void refuse_unknown(const Json& object, std::initializer_list<std::string_view> known);

}  // namespace minke

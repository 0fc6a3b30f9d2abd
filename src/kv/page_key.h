#pragma once
// Names of pages by content: a page is the same where the model, the salt and all tokens up to its end are.

#include <cstdint>
#include <span>
#include <string_view>

#include "base/hash128.h"

namespace minke {

using PageKey = Hash128;

// Before the first page. identity: of the model and of all settings that its rows depend on; salt: what keeps
// the caches of different users apart.
PageKey first_key(std::string_view identity, std::string_view salt = {});
// Of the page behind `before` that holds these tokens.
PageKey next_key(const PageKey& before, std::span<const int32_t> tokens);

}  // namespace minke

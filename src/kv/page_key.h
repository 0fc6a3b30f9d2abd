#pragma once
// Names of pages by content: a page is the same where the model, the salt and all tokens up to its end are.

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace minke {

struct PageKey {
  uint64_t high = 0, low = 0;
  auto operator<=>(const PageKey&) const = default;
};

// Before the first page. identity: of the model and of all settings that its rows depend on; salt: what keeps
// the caches of different users apart.
PageKey first_key(std::string_view identity, std::string_view salt = {});
// Of the page behind `before` that holds these tokens.
PageKey next_key(const PageKey& before, std::span<const int32_t> tokens);

std::string hex(const PageKey& key);                 // 32 digits
bool from_hex(std::string_view text, PageKey& key);  // false where text is no key

}  // namespace minke

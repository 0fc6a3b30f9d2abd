#pragma once
// TOML, as the JSON value that says the same.

#include <string>
#include <string_view>

#include "base/json.h"

namespace minke {

// An object. Throws Error naming `where` and the line: what is no TOML, and dates, times, infinity and NaN,
// for which JSON has nothing.
Json parse_toml(std::string_view text, const std::string& where);

}  // namespace minke

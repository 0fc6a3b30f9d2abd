#pragma once
// Shapes of published and planned models that need no file.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace minke {

// "r2", "v3", "v3.2", "v2-lite". Throws Error listing the known ones.
Config preset(std::string_view name);
std::vector<std::string> preset_names();

}  // namespace minke

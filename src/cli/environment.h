#pragma once
// The process's environment: the only place that reads it.

#include <optional>
#include <string>

namespace minke {

std::optional<std::string> variable(const char* name);  // nothing where unset or empty

}  // namespace minke

#pragma once
// A file of settings: TOML where its name ends in .toml, else JSON.

#include "base/file.h"
#include "base/json.h"

namespace minke {

// An object of settings. Throws Error naming the file, and the line where it is TOML.
Json read_settings_file(const fs::path& path);

}  // namespace minke

#pragma once
// What lies in a folder, with Error as the only exception.

#include <string>
#include <vector>

#include "base/file.h"

namespace minke {

// Whether the path leads to a file, or a link to one. False where it cannot be told.
bool is_file(const fs::path& path);

// The names of the files in a folder, links to files among them, sorted. Throws Error naming the folder where
// it is none or cannot be read.
std::vector<std::string> file_names(const fs::path& folder);

}  // namespace minke

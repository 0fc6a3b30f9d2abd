#include "formats/folder.h"

#include <algorithm>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"

namespace minke {

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

std::vector<std::string> file_names(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator entry(folder, error);
  while (!error && entry != fs::directory_iterator()) {
    if (is_file(entry->path())) names.push_back(entry->path().filename().string());
    entry.increment(error);
  }
  if (error) throw Error(fmt::format("cannot list the folder: {}", error.message()), folder.string());
  std::ranges::sort(names);
  return names;
}

}  // namespace minke

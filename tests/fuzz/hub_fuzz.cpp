// room: hub
// Names from users and from listings of the hub: the first line is a name, all lines are the paths of a
// repository. A name that is taken apart can be put together again; a path that is accepted stays under the
// folder it is put in; what is chosen is there.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "hub/file_choice.h"
#include "hub/model_name.h"

namespace {

using namespace minke;

void check_name(std::string_view text) {
  if (!is_model_name(text)) return;
  const ModelName name = parse_model_name(text);
  const ModelName again = parse_model_name(name.text());
  MINKE_CHECK(again.repo == name.repo && again.select == name.select && again.revision == name.revision);
}

void check_path(const std::string& path) {
  try {
    check_repo_path(path);
  } catch (const Error&) {
    return;
  }
  const fs::path folder = "/cache/snapshot";
  const fs::path inside = (folder / path).lexically_normal();
  MINKE_CHECK(inside.string().starts_with("/cache/snapshot/") && inside == folder / path);
}

void check_choice(const std::vector<std::string>& paths, std::string_view select) {
  FileChoice choice;
  try {
    choice = choose_files(paths, select, "org/name");
  } catch (const Error&) {
    return;
  }
  MINKE_CHECK(!choice.files.empty());
  for (const std::string& file : choice.files)
    MINKE_CHECK(std::find(paths.begin(), paths.end(), file) != paths.end());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> lines;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  check_name(lines[0]);
  for (const std::string& line : lines) {
    check_path(line);
    (void)quant_in_name(line);
  }
  check_choice(lines, "");
  check_choice(lines, lines[0]);
  return 0;
}

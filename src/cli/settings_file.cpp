#include "cli/settings_file.h"

#include "base/error.h"
#include "base/toml.h"
#include "cli/input.h"

namespace minke {
namespace {

constexpr uint64_t kMostBytes = 1 << 20;

}  // namespace

Json read_settings_file(const fs::path& path) {
  if (path.extension() == ".toml") return parse_toml(read_file(path, kMostBytes), path.string());
  Json settings = read_json_file(path);
  if (!settings.is_object()) throw Error("is no JSON object", path.string());
  return settings;
}

}  // namespace minke

#pragma once
// Settings of a command that is started once and runs for long: flags, with twins in the environment and in a
// file. A flag goes before the environment, and that before the file.

#include <string>
#include <vector>

#include "base/json.h"

namespace CLI {
class App;
}

namespace minke {

struct Setting {
  std::string flag;    // "--port"
  std::string value;   // "6710"; of a list, its entries joined by commas
  std::string source;  // "flag", "environment", "file" or "default"
};

// Gives the options of `command` that no flag has set the values of MINKE_NAME (of --some-name:
// MINKE_SOME_NAME; entries of a list are separated by commas) or else of `file`, an object {"some-name":
// value} (null: there is no file). Returns all of them as they then are. Throws Error naming the variable or
// the member: unknown, or no value of that setting.
std::vector<Setting> take_settings(CLI::App& command, const Json& file);

}  // namespace minke

#pragma once
// Text and JSON that a command is given.

#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace minke {

// A text as words on the command line, in a file, or on standard input.
struct TextInput {
  std::vector<std::string> words;
  std::string file;

  // Adds NAME (several words are joined by blanks; - or none: standard input) and --file.
  void add(CLI::App& command, const std::string& name, const std::string& description);
  // Whether the text would be read from a terminal without the user having said so.
  bool would_wait() const;
  std::string source() const;  // for errors: the file's name, "standard input", or empty for words
  std::string read() const;    // bytes as they are
};

// A JSON file, its name in every error. Throws Error: not there, larger than 256 MB, no JSON.
Json read_json_file(const fs::path& path);

}  // namespace minke

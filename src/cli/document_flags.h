#pragma once
// Flags of the commands that read documents: tokenizer train, data.

#include <string>
#include <vector>

#include "train/documents.h"

namespace CLI {
class App;
}

namespace minke {

struct DocumentFlags {
  std::vector<std::string> files;
  std::string separator;
  bool skip_invalid = false;

  void add(CLI::App& command);  // FILES, --separator, --skip-invalid
  DocumentReader open() const;  // \n, \t and \\ in the separator are what they stand for
};

void warn_of_skipped(const DocumentReader& reader);  // on standard error

}  // namespace minke

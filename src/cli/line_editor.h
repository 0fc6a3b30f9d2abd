#pragma once
// Lines from a terminal, with editing and history, or from a pipe.

#include <memory>
#include <optional>
#include <string>

#include "base/file.h"

namespace minke {

class LineEditor {
 public:
  // history: a file that is read now and written at the end; empty: none. Without a terminal on standard
  // input lines are read as they come and nothing is shown.
  explicit LineEditor(fs::path history);
  ~LineEditor();

  bool interactive() const;
  enum class Result { line, interrupted, end };
  Result read(const std::string& prompt, std::string& line);  // without the newline

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minke

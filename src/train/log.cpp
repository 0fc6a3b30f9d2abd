#include "train/log.h"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

std::string reason() { return std::generic_category().message(errno); }

// What is kept of a log: whole lines of steps up to last_step.
std::string kept_lines(const std::string& text, int64_t last_step) {
  std::string kept;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (end == text.npos) break;  // cut off by what ended the run
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    try {
      const Json json = parse_json(line);
      const Json* step = json.find("step");
      if (step && step->as_int() > last_step) continue;
    } catch (const Error&) {
      continue;
    }
    kept += line + '\n';
  }
  return kept;
}

}  // namespace

TrainLog::TrainLog(const fs::path& path, int64_t last_step) : path_(path) { cut(last_step); }

TrainLog::~TrainLog() {
  if (file_) std::fclose(file_);
}

void TrainLog::cut(int64_t last_step) {
  if (file_) std::fclose(file_);
  file_ = nullptr;
  std::error_code none;
  if (fs::exists(path_, none)) {
    const std::string text = read_file(path_), kept = kept_lines(text, last_step);
    if (kept != text) write_file(path_, kept);
  }
  file_ = std::fopen(path_.c_str(), "ae");
  if (!file_) throw Error(fmt::format("cannot write: {}", reason()), path_.string());
}

void TrainLog::write(const Json& line) {
  const std::string text = to_string(line) + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0)
    throw Error(fmt::format("cannot write: {}", reason()), path_.string());
}

}  // namespace minke

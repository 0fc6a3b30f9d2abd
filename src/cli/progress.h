#pragma once
// A progress bar on standard error, where that is a terminal; elsewhere nothing is written.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace minke {

// "weights  [=====>    ]  42 %  1.2 of 2.9 GB  0:12 left"; no wider than the terminal, without colours.
class Progress {
 public:
  enum class Unit { bytes, count };
  Progress(std::string what, Unit unit);
  ~Progress();  // takes the bar away
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Draws at most ten times a second, and not in the first tenth of one: what is quick needs no bar.
  void show(int64_t done, int64_t total);
  void say(std::string_view text);  // "what: text", instead of a bar
  void rename(std::string what) { what_ = std::move(what); }

 private:
  bool due();
  void draw(const std::string& line);

  using Clock = std::chrono::steady_clock;
  std::string what_;
  Unit unit_;
  bool terminal_;
  Clock::time_point start_ = Clock::now(), drawn_ = start_;
  int64_t first_ = -1;  // done at the first call: what was there before tells nothing of speed
  size_t width_ = 0;    // columns the last line took
};

// The line itself, for `columns` columns; seconds since the work began, first: what was done then.
std::string progress_line(std::string_view what, Progress::Unit unit, int64_t first, int64_t done,
                          int64_t total, double seconds, int columns);

std::string bytes_text(int64_t bytes);  // "1.23 GB", "12.3 MB", "812 kB"

}  // namespace minke

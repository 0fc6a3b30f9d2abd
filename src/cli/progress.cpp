#include "cli/progress.h"

#include <algorithm>
#include <cstdio>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cli/interrupt.h"

namespace minke {
namespace {

constexpr auto kPause = std::chrono::milliseconds(100);
constexpr int kBar = 24;

int terminal_columns() {
  winsize size = {};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string duration(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace

std::string bytes_text(int64_t bytes) {
  const auto b = static_cast<double>(bytes);
  if (bytes >= 1'000'000'000) return fmt::format("{:.2f} GB", b / 1e9);
  if (bytes >= 1'000'000) return fmt::format("{:.1f} MB", b / 1e6);
  return bytes >= 1000 ? fmt::format("{:.0f} kB", b / 1e3) : fmt::format("{} bytes", bytes);
}

std::string progress_line(std::string_view what, Progress::Unit unit, int64_t first, int64_t done,
                          int64_t total, double seconds, int columns) {
  const double share =
      total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 0;
  const auto amount = [&](int64_t n) {
    return unit == Progress::Unit::bytes ? bytes_text(n) : fmt::format("{}", n);
  };
  std::string text =
      fmt::format("{:>4.0f} %  {} of {}", std::min(99.0, 100 * share), amount(done), amount(total));
  if (done > first && seconds > 1)
    text += fmt::format("  {} left", duration(static_cast<double>(total - done) * seconds /
                                              static_cast<double>(done - first)));
  const int bar = std::min<int>(kBar, columns - 1 - static_cast<int>(what.size() + text.size()) - 4);
  std::string line(what);
  if (bar >= 4) {
    const int filled = static_cast<int>(share * bar);
    line += fmt::format("  [{}{}]", std::string(static_cast<size_t>(filled), '='),
                        std::string(static_cast<size_t>(bar - filled), ' '));
  }
  line += text;
  if (static_cast<int>(line.size()) >= columns) line.resize(static_cast<size_t>(std::max(0, columns - 1)));
  return line;
}

Progress::Progress(std::string what, Unit unit)
    : what_(std::move(what)), unit_(unit), terminal_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (width_ == 0) return;
  draw("");
  set_line_open(false);
}

bool Progress::due() {
  if (!terminal_) return false;
  const auto now = Clock::now();
  if (now - drawn_ < kPause) return false;
  drawn_ = now;
  return true;
}

void Progress::show(int64_t done, int64_t total) {
  if (first_ < 0) first_ = done;
  if (!due()) return;
  draw(progress_line(what_, unit_, first_, done, total,
                     std::chrono::duration<double>(Clock::now() - start_).count(), terminal_columns()));
}

void Progress::say(std::string_view text) {
  if (due()) draw(fmt::format("{}: {}", what_, text).substr(0, static_cast<size_t>(terminal_columns() - 1)));
}

// Blanks over what is left of the line before: a terminal that knows no escapes shows it well, too.
void Progress::draw(const std::string& line) {
  const std::string blanks(width_ > line.size() ? width_ - line.size() : 0, ' ');
  fmt::print(stderr, "\r{}{}{}", line, blanks, line.empty() ? "\r" : "");
  std::fflush(stderr);
  width_ = line.size();
  set_line_open(width_ > 0);
}

}  // namespace minke

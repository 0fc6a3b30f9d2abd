#include "cli/input.h"

#include <cerrno>
#include <cstring>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr size_t kMaxJsonBytes = size_t{256} << 20;
constexpr size_t kMaxInputBytes = size_t{1} << 30;

std::string read_standard_input() {
  std::string text;
  char piece[1 << 16];
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, piece, sizeof piece);
    if (n == 0) return text;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(fmt::format("cannot read: {}", std::strerror(errno)), "standard input");
    text.append(piece, static_cast<size_t>(n));
    if (text.size() > kMaxInputBytes)
      throw Error(fmt::format("more than {} MB", kMaxInputBytes >> 20), "standard input");
  }
}

}  // namespace

void TextInput::add(CLI::App& command, const std::string& name, const std::string& description) {
  CLI::Option* given =
      command.add_option(name, words, description + "; - or nothing: read it from standard input");
  command.add_option("--file", file, "Read it from a file")->excludes(given);
}

bool TextInput::would_wait() const { return file.empty() && words.empty() && ::isatty(STDIN_FILENO); }

std::string TextInput::source() const {
  if (!file.empty()) return file;
  return words.empty() || (words.size() == 1 && words[0] == "-") ? "standard input" : "";
}

std::string TextInput::read() const {
  if (!file.empty()) return read_file(file, kMaxInputBytes);
  if (!source().empty()) return read_standard_input();
  return fmt::format("{}", fmt::join(words, " "));
}

Json read_json_file(const fs::path& path) {
  try {
    return parse_json(read_file(path, kMaxJsonBytes));
  } catch (const Error& e) {
    throw e.subject().starts_with(path.string()) ? e : e.within(path.string());
  }
}

}  // namespace minke

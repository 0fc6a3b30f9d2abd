#pragma once
// Errors a user can do something about, and checks for mistakes a programmer made.

#include <exception>
#include <string>
#include <string_view>

#include <fmt/core.h>

namespace minke {

// What happened, to what (a file, a tensor, a flag, a request field), and what would help. The one exception
// type of the project; caught by the command line's main, by the server's request handler and by the engine's
// step.
class Error : public std::exception {
 public:
  explicit Error(std::string happened, std::string subject = {}, std::string help = {});

  const std::string& happened() const { return happened_; }
  const std::string& subject() const { return subject_; }
  const std::string& help() const { return help_; }

  // The same error, seen from further out: "model.gguf: tensor 'x'" where the inside only knew "tensor 'x'".
  Error within(std::string_view outer) const;

  // "subject: happened (help)"
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string happened_, subject_, help_, text_;
};

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& detail);

}  // namespace minke

// Aborts: for what only a mistake in this program can break. Never for input.
#define MINKE_CHECK(condition, ...)                                                         \
  do {                                                                                      \
    if (!(condition)) [[unlikely]]                                                          \
      ::minke::check_failed(#condition, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
  } while (false)

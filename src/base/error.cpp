#include "base/error.h"

#include <cstdio>
#include <cstdlib>

#include "base/escape.h"

namespace minke {

Error::Error(std::string happened, std::string subject, std::string help)
    : happened_(std::move(happened)), subject_(std::move(subject)), help_(std::move(help)) {
  text_ = subject_.empty() ? happened_ : subject_ + ": " + happened_;
  if (!help_.empty()) text_ += " (" + help_ + ")";
  text_ = escaped(text_, "\n\t");  // names of files, keys and tensors can be any bytes
}

Error Error::within(std::string_view outer) const {
  return Error(happened_, subject_.empty() ? std::string(outer) : fmt::format("{}: {}", outer, subject_),
               help_);
}

void check_failed(const char* condition, const char* file, int line, const std::string& detail) {
  std::fprintf(stderr, "minke: internal error at %s:%d: %s%s%s\n", file, line, condition,
               detail.empty() ? "" : ": ", detail.c_str());
  std::abort();
}

}  // namespace minke

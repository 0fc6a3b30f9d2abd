#pragma once
// UTF-8 text whose every byte is marked: the template's own, or given (DESIGN.md, Text).

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "text/token.h"

namespace minke::jinja {

// Most texts have one mark. The others keep the offsets where it changes.
class Text {
 public:
  Text() = default;
  Text(std::string bytes, bool given) : bytes_(std::move(bytes)), given_(given) {}

  std::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  bool any_given() const { return !changes_.empty() || (given_ && !bytes_.empty()); }
  size_t heap_bytes() const { return bytes_.capacity() + changes_.capacity() * sizeof(size_t); }

  void append(std::string_view bytes, bool given);
  void append(const Text& text);
  Text slice(size_t begin, size_t end) const;  // bytes [begin, end), cut at characters' borders by the caller

  // f(bytes, given) for each run of one mark.
  template <typename F>
  void each_run(F f) const {
    size_t begin = 0;
    bool given = given_;
    for (const size_t end : changes_) {
      f(view().substr(begin, end - begin), given);
      begin = end;
      given = !given;
    }
    if (begin < bytes_.size()) f(view().substr(begin), given);
  }

  // Marked by the `escape` and `safe` filters: escaping it again does nothing.
  bool is_markup() const { return markup_; }
  Text as_markup() const;

 private:
  std::string bytes_;
  std::vector<size_t> changes_;  // ascending, each inside the text: the mark flips there
  bool given_ = false;           // the mark of the first run
  bool markup_ = false;
};

Pieces to_pieces(const Text& text);

}  // namespace minke::jinja

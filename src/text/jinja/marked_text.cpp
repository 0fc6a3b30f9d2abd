#include "text/jinja/marked_text.h"

#include <algorithm>

namespace minke::jinja {

void Text::append(std::string_view bytes, bool given) {
  if (bytes.empty()) return;
  const bool last = given_ != (changes_.size() % 2 == 1);
  if (bytes_.empty())
    given_ = given;
  else if (last != given)
    changes_.push_back(bytes_.size());
  bytes_ += bytes;
}

void Text::append(const Text& text) {
  text.each_run([&](std::string_view run, bool given) { append(run, given); });
}

Text Text::slice(size_t begin, size_t end) const {
  const auto first = std::upper_bound(changes_.begin(), changes_.end(), begin);
  const auto last = std::lower_bound(first, changes_.end(), end);
  Text part(bytes_.substr(begin, end - begin), given_ != ((first - changes_.begin()) % 2 == 1));
  part.changes_.assign(first, last);
  for (size_t& change : part.changes_) change -= begin;
  return part;
}

Text Text::as_markup() const {
  Text marked = *this;
  marked.markup_ = true;
  return marked;
}

Pieces to_pieces(const Text& text) {
  Pieces pieces;
  text.each_run([&](std::string_view run, bool given) { pieces.push_back({given, std::string(run)}); });
  return pieces;
}

}  // namespace minke::jinja

#include "engine/answer_text.h"

#include <algorithm>

namespace minke {

ShownText AnswerText::show(std::string text) {
  ShownText shown{std::move(text), {}};
  const size_t size = shown.text.size();
  std::vector<TextRun> rest;
  for (const TextRun& run : added_) {
    if (run.begin < size) shown.added.push_back({run.begin, std::min(run.end, size)});
    if (run.end > size) rest.push_back({std::max(run.begin, size) - size, run.end - size});
  }
  added_ = std::move(rest);
  held_ -= std::min(held_, size);
  return shown;
}

ShownText AnswerText::push(Token token) {
  const std::string text = detokenizer_.push(token);
  held_ += text.size();
  const std::string_view own = tokenizer_.bytes(token);
  // Before it may stand what another token left unfinished.
  if (tokenizer_.is_added(token) && !text.empty() && text.ends_with(own)) {
    const size_t begin = held_ - own.size();
    if (!added_.empty() && added_.back().end == begin)
      added_.back().end = held_;
    else
      added_.push_back({begin, held_});
  }
  return show(stop_.push(text));
}

ShownText AnswerText::finish() {
  const std::string text = detokenizer_.finish();
  held_ += text.size();
  std::string shown = stop_.push(text);
  return show(shown + stop_.finish());
}

}  // namespace minke

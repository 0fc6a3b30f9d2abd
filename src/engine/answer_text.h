#pragma once
// The text of an answer as its tokens come.

#include <string>
#include <vector>

#include "engine/stop_text.h"
#include "text/tokenizer.h"

namespace minke {

// Text that can be shown, and the parts of it that added tokens wrote.
struct ShownText {
  std::string text;
  std::vector<TextRun> added;
};

// Holds back half characters and what may yet become a stop string.
class AnswerText {
 public:
  // Special tokens write nothing, but for those in `written`.
  AnswerText(const Tokenizer& tokenizer, std::vector<std::string> stops, const std::vector<Token>& written)
      : tokenizer_(tokenizer), detokenizer_(tokenizer, true, written), stop_(std::move(stops)) {}

  ShownText push(Token token);
  ShownText finish();
  const std::string& stopped() const { return stop_.stopped(); }  // the stop string that was met, or empty

 private:
  ShownText show(std::string text);

  const Tokenizer& tokenizer_;
  Detokenizer detokenizer_;
  StopText stop_;
  std::vector<TextRun> added_;  // in what was not shown yet, counted from there
  size_t held_ = 0;             // bytes not shown yet
};

}  // namespace minke

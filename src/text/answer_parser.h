#pragma once
// What a model answers, taken apart while it comes: reasoning, content and tool calls.
//
// Parts of the text arrive as the engine detokenises them, each known to be written by an added token or not.
// However they are cut, the events joined and the answer are the same.
//
// Nothing comes out as text that may yet be markup. Calls are streamed: their name first, then their
// arguments as the model writes them, checked byte by byte; but for the brace that closes them, which is held
// back until the call is whole. So arguments joined are a JSON object exactly where call_end follows: what a
// client could mistake for a call is one.
//
// A call that breaks (arguments that are no JSON object, markup that does not fit, a tool that was not
// offered, an answer cut off inside) is not lost: call_broken, where it had begun to come out, then all its
// text from the opening on as content, and the rest of the answer with it; `fault` says why.

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/answer_format.h"
#include "text/deepseek_v32.h"
#include "text/token.h"

namespace minke {

struct AnswerEvent {
  enum class Kind {
    reasoning,    // text
    content,      // text
    call,         // text: the name. Ids are the caller's to make
    arguments,    // text: a part of them
    call_end,     // the call is whole
    call_broken,  // it will not be
  };
  Kind kind;
  int index = 0;  // of the call in the answer
  std::string text = {};
  bool operator==(const AnswerEvent&) const = default;
};

struct ParsedAnswer {
  std::string reasoning, content;
  std::vector<ToolCall> calls;  // whole ones; their arguments are JSON objects
  std::string fault;            // why a call is in the content instead; empty: all is well
  bool operator==(const ParsedAnswer&) const = default;
};

struct AnswerOptions {
  std::vector<std::string> tools;     // names that may be called; without any, markup of calls is text
  bool in_reasoning = false;          // the prompt ended inside of reasoning (ends_in_reasoning)
  size_t max_held = size_t{1} << 20;  // bytes of what may become a call before it counts as text
};

// One answer. Not to be used from several threads at once.
class AnswerParser {
 public:
  AnswerParser(const AnswerFormat& format, AnswerOptions options);
  AnswerParser(AnswerParser&&) noexcept;
  AnswerParser& operator=(AnswerParser&&) noexcept;
  ~AnswerParser();

  // `added`: the runs of the text that added tokens wrote (Output::added). Text is UTF-8.
  std::vector<AnswerEvent> feed(std::string_view text, std::span<const TextRun> added = {});
  // The answer has ended, whyever.
  std::vector<AnswerEvent> finish();
  // Whether the text so far ends inside of reasoning.
  bool in_reasoning() const;
  // What has come out so far; all of it after finish().
  const ParsedAnswer& answer() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The same for a whole text.
ParsedAnswer parse_answer(const AnswerFormat& format, AnswerOptions options, std::string_view text,
                          std::span<const TextRun> added = {});

}  // namespace minke

#pragma once
// Answers as they were sampled. A text has many tokenisations, and a model does not always write the one that
// a tokenizer would; so an answer that comes back in a conversation, tokenised anew, would miss the cache
// from there on. Kept as tokens, it is met again to the last of them.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/answer_parser.h"
#include "text/tokenizer.h"

namespace minke {

// A rendered prompt as one text, with the mark of each byte: '1' where it was given, '0' where the template
// wrote it.
struct MarkedText {
  std::string text, given;

  explicit MarkedText(const Pieces& pieces);
  Pieces pieces(size_t begin, size_t end) const;
  std::string key(size_t bytes) const;  // a hash of the beginning's text
};

struct KeptAnswer {
  size_t prompt_bytes = 0;    // of the rendered prompt that it answered,
  std::string prompt_key;     // MarkedText::key of that, and prompt_tokens_key of its tokens
  std::vector<Token> tokens;  // without the token that ended it
  bool operator==(const KeptAnswer&) const = default;
};
std::string prompt_tokens_key(std::span<const Token> tokens);

// Where they are kept, by what they say. Any thread may call.
class AnswerKeeper {
 public:
  virtual ~AnswerKeeper() = default;
  virtual void keep(const std::string& key, KeptAnswer answer) = 0;  // must not block for long
  virtual std::vector<KeptAnswer> find(const std::string& key) = 0;  // to several prompts; newest first
};

// What an answer says, however it is written: reasoning and content but for white space around them, names of
// calls, their arguments as JSON with sorted keys. Equal texts mean equal answers.
std::string said_by(const ParsedAnswer& answer);
std::string said_by(const Json& message);  // an assistant's, as check_messages allows it

// Prompts with kept answers in them. An answer takes the place of the text that the template makes of its
// message, from the very prompt it answered (the same tokens) to the token that ends it, where that text says
// the same (its own parser tells): so a template that drops reasoning of earlier answers has its way.
class AnswerMemory {
 public:
  // Tokenizer and format must outlive it. `written` as Request has it; `ends`: tokens that end an answer.
  AnswerMemory(std::shared_ptr<AnswerKeeper> keeper, const Tokenizer& tokenizer, const AnswerFormat& format,
               std::vector<Token> written, const std::vector<Token>& ends);

  std::vector<Token> encode(const MarkedText& prompt, const JsonArray& messages,
                            const std::vector<std::string>& tools, const std::string& salt) const;
  // tokens: all of the answer but the end token.
  void keep(const ParsedAnswer& answer, KeptAnswer kept, const std::string& salt) const;

 private:
  struct Span {
    size_t begin, end;
  };
  std::string key(const std::string& said, const std::string& salt) const;
  size_t end_of_answer(const MarkedText& prompt, size_t begin) const;
  bool fits(const MarkedText& prompt, Span span, const std::vector<Token>& tokens, const std::string& said,
            const std::vector<std::string>& tools) const;
  std::string said_by_tokens(const std::vector<Token>& tokens, const AnswerOptions& options) const;

  const std::shared_ptr<AnswerKeeper> keeper_;
  const Tokenizer& tokenizer_;
  const AnswerFormat& format_;
  const std::vector<Token> written_;
  std::vector<std::string> ends_;  // their texts
  std::string vocabulary_;         // a hash of it
};

}  // namespace minke

#include "api/kept_answer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/answer_text.h"
#include "text/fingerprint.h"

namespace minke {
namespace {

constexpr size_t kTail = 64;  // bytes of a prompt that tell whether it ends inside of reasoning

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \n\t\r";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == text.npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin));
}

// Sorted keys; 1.0 is 1, as it is to JavaScript.
Json canonical(const Json& json) {
  if (json.is_array()) {
    JsonArray list;
    for (const Json& entry : json.as_array()) list.push_back(canonical(entry));
    return list;
  }
  if (json.is_object()) {
    JsonObject object;
    for (const auto& [key, value] : json.as_object()) object.emplace_back(key, canonical(value));
    std::ranges::stable_sort(object, {}, &JsonMember::first);
    return object;
  }
  if (json.is_number() && !json.is_int()) {
    const double value = json.as_double();
    if (std::trunc(value) == value && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  }
  return json;
}

Json canonical_arguments(const std::string& text) {
  try {
    return canonical(parse_json(text, {.reject_repeated_keys = false}));
  } catch (const Error&) {
    return text;
  }
}

std::string joined_content(const Json* content) {
  if (!content || content->is_null()) return {};
  if (content->is_string()) return content->as_string();
  std::string all;
  for (const Json& part : content->as_array()) {
    if (&part != &content->as_array().front()) all += '\n';
    all += part.at("text").as_string();
  }
  return all;
}

}  // namespace

MarkedText::MarkedText(const Pieces& pieces) : text(plain(pieces)) {
  given.reserve(text.size());
  for (const Piece& piece : pieces) given.append(piece.text.size(), piece.given ? '1' : '0');
}

Pieces MarkedText::pieces(size_t begin, size_t end) const {
  Pieces all;
  while (begin < end) {
    const size_t next = std::min(given.find(given[begin] == '1' ? '0' : '1', begin), end);
    all.push_back({given[begin] == '1', text.substr(begin, next - begin)});
    begin = next;
  }
  return all;
}

std::string MarkedText::key(size_t bytes) const {
  return hex(hash128(std::string_view(text).substr(0, bytes)));
}

std::string prompt_tokens_key(std::span<const Token> tokens) { return hex(hash128(std::as_bytes(tokens))); }

std::string said_by(const ParsedAnswer& answer) {
  JsonArray calls;
  for (const ToolCall& call : answer.calls)
    calls.push_back(JsonArray{call.name, canonical_arguments(call.arguments)});
  return to_string(JsonArray{trimmed(answer.reasoning), trimmed(answer.content), std::move(calls)});
}

std::string said_by(const Json& message) {
  ParsedAnswer answer;
  answer.content = joined_content(message.find("content"));
  for (const char* name : {"reasoning", "thinking", "reasoning_content"})
    if (const Json* text = message.find(name); text && text->is_string())
      answer.reasoning = text->as_string();
  if (const Json* calls = message.find("tool_calls"); calls && calls->is_array())
    for (const Json& call : calls->as_array()) {
      const Json& function = call.at("function");
      const Json& arguments = function.at("arguments");
      answer.calls.push_back({function.at("name").as_string(),
                              arguments.is_string() ? arguments.as_string() : to_string(arguments)});
    }
  return said_by(answer);
}

AnswerMemory::AnswerMemory(std::shared_ptr<AnswerKeeper> keeper, const Tokenizer& tokenizer,
                           const AnswerFormat& format, std::vector<Token> written,
                           const std::vector<Token>& ends)
    : keeper_(std::move(keeper)), tokenizer_(tokenizer), format_(format), written_(std::move(written)) {
  for (const Token end : ends)
    if (end < tokenizer.size() && !tokenizer.bytes(end).empty()) ends_.emplace_back(tokenizer.bytes(end));
  vocabulary_ = hex(fingerprint(tokenizer));
}

std::string AnswerMemory::key(const std::string& said, const std::string& salt) const {
  Hasher128 hasher;
  hasher.add(vocabulary_);
  hasher.add(said);
  hasher.add(std::string_view("\0", 1));
  hasher.add(salt);
  return hex(hasher.hash());
}

void AnswerMemory::keep(const ParsedAnswer& answer, KeptAnswer kept, const std::string& salt) const {
  if (keeper_ && !kept.tokens.empty()) keeper_->keep(key(said_by(answer), salt), std::move(kept));
}

std::vector<Token> AnswerMemory::encode(const MarkedText& prompt, const JsonArray& messages,
                                        const std::vector<std::string>& tools,
                                        const std::string& salt) const {
  std::vector<Token> tokens;
  size_t done = 0;
  const auto add = [&](const std::vector<Token>& more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
  };
  for (const Json& message : messages) {
    if (!keeper_ || message.at("role") != Json("assistant")) continue;
    const std::string said = said_by(message);
    for (const KeptAnswer& kept : keeper_->find(key(said, salt))) {
      const size_t begin = kept.prompt_bytes, before = tokens.size();
      const std::string text_key = begin < done ? "" : prompt.key(begin);
      if (text_key.empty() || !kept.prompt_key.starts_with(text_key)) continue;
      const size_t end = end_of_answer(prompt, begin);
      if (end == std::string::npos || !fits(prompt, {begin, end}, kept.tokens, said, tools)) continue;
      add(tokenizer_.encode(prompt.pieces(done, begin)));
      if (text_key + prompt_tokens_key(tokens) != kept.prompt_key) {
        tokens.resize(before);
        continue;
      }
      add(kept.tokens);
      done = end;
      break;
    }
  }
  add(tokenizer_.encode(prompt.pieces(done, prompt.text.size())));
  return tokens;
}

// The first end token that the template wrote.
size_t AnswerMemory::end_of_answer(const MarkedText& prompt, size_t begin) const {
  size_t first = std::string::npos;
  for (const std::string& end : ends_)
    for (size_t at = prompt.text.find(end, begin); at < first; at = prompt.text.find(end, at + 1))
      if (prompt.given.find('1', at) >= at + end.size()) first = at;
  return first;
}

bool AnswerMemory::fits(const MarkedText& prompt, Span span, const std::vector<Token>& tokens,
                        const std::string& said, const std::vector<std::string>& tools) const {
  const std::string_view rendered = std::string_view(prompt.text).substr(span.begin, span.end - span.begin);
  if (tokenizer_.decode(tokens) == rendered) return true;
  AnswerOptions options;
  options.tools = tools;
  options.in_reasoning =
      ends_in_reasoning(prompt.pieces(span.begin - std::min(kTail, span.begin), span.begin));
  return said_by_tokens(tokenizer_.encode(prompt.pieces(span.begin, span.end)), options) == said &&
         said_by_tokens(tokens, options) == said;
}

std::string AnswerMemory::said_by_tokens(const std::vector<Token>& tokens,
                                         const AnswerOptions& options) const {
  AnswerText text(tokenizer_, {}, written_);
  AnswerParser parser(format_, options);
  for (const Token token : tokens) {
    const ShownText shown = text.push(token);
    parser.feed(shown.text, shown.added);
  }
  const ShownText rest = text.finish();
  parser.feed(rest.text, rest.added);
  parser.finish();
  return said_by(parser.answer());
}

}  // namespace minke

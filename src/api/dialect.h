#pragma once
// What a dialect makes of a request, and of what comes of it.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/completion.h"
#include "base/json.h"

namespace minke {

// Writes one answer in a dialect. Gets all events in order, whether the answer is streamed or not.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  // Server-sent events for the client, possibly none: before the first event, and for each.
  virtual std::string begin() { return {}; }
  virtual std::string event(const CompletionEvent& event) = 0;
  virtual Json whole() const = 0;  // the answer in one piece; after done
};

struct Exchange {
  CompletionRequest request;
  std::string model;  // as asked for; empty: any
  bool stream = false;
  std::unique_ptr<AnswerWriter> writer;
};

// One server-sent event; its data is JSON, which has no line breaks.
std::string sse(std::string_view data);
std::string sse(std::string_view event, std::string_view data);

// "chatcmpl-" and 24 random letters and digits.
std::string new_id(std::string_view prefix);

// A choice as far as it has come.
struct CollectedCall {
  std::string id, name, arguments;
  bool whole = false;
};
struct CollectedChoice {
  std::string reasoning, content;
  std::vector<CollectedCall> calls;
  std::vector<TokenLogprob> logprobs;
  EndReason reason = EndReason::cancelled;
  std::string stop, malformed_call;

  void add(const AnswerEvent& part, std::string_view id_prefix);
  void end(const CompletionEvent& event);
};

}  // namespace minke

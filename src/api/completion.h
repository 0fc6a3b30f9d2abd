#pragma once
// A request for completions and what comes of it, whatever the dialect it was asked in.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/fault.h"
#include "engine/sampling.h"
#include "text/answer_parser.h"
#include "text/chat_messages.h"
#include "text/token.h"

namespace minke {

// A text to be continued without a chat format.
struct PlainPrompt {
  std::string text;
  std::vector<Token> tokens;          // where not empty, instead of the text
  std::optional<std::string> suffix;  // the gap between text and suffix is to be filled
  bool operator==(const PlainPrompt&) const = default;
};

struct ToolChoice {
  enum class Kind : uint8_t { automatic, none, required, named };
  Kind kind = Kind::automatic;
  std::string name = {};  // with named
  bool operator==(const ToolChoice&) const = default;
};

// Sampling as far as the request has a say; the rest is the model's advice.
struct SamplingWishes {
  std::optional<float> temperature, top_p, min_p, typical_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<int> top_k;
  std::optional<uint64_t> seed;  // choice i of several draws with seed + i; none: another one each time
  std::vector<std::pair<Token, float>> logit_bias;
  int logprobs = -1;  // as Sampling has it

  Sampling over(Sampling advised) const;  // without the seed
};

struct CompletionRequest {
  std::optional<ChatPrompt> chat;    // a conversation,
  std::vector<PlainPrompt> prompts;  // or texts
  ToolChoice tool_choice;
  bool parallel_calls = true;  // false: an answer ends with its first call
  SamplingWishes sampling;
  int max_tokens = -1;  // -1: until the context is full
  std::vector<std::string> stop;
  std::vector<Token> stop_tokens;
  bool ignore_end = false;
  std::string cache_salt;  // cached rows are shared with requests of the same salt only
  int n = 1;               // choices for each prompt: choice p * n + i is the i-th of prompt p

  int choices() const { return n * (chat ? 1 : static_cast<int>(prompts.size())); }
};

struct TokenLogprob {
  std::string bytes;  // of the token: possibly a part of a character
  float logprob = 0;
  std::vector<std::pair<std::string, float>> top;  // likeliest first
};

enum class EndReason : uint8_t { stop, length, calls, cancelled };

struct Usage {
  int prompt_tokens = 0;     // of all prompts
  int cached_tokens = 0;     // of these, not computed anew
  int output_tokens = 0;     // of all choices
  int reasoning_tokens = 0;  // of these, inside of reasoning, its marks included
};

struct CompletionEvent {
  enum class Kind : uint8_t {
    start,   // the first choice begins: `usage` has its prompt
    part,    // something of a choice
    end,     // of a choice
    done,    // all choices have ended
    failed,  // nothing more will come; `fault` says why
  };
  Kind kind;
  int choice = 0;
  std::vector<AnswerEvent> parts = {};
  std::vector<TokenLogprob> logprobs = {};
  EndReason reason = EndReason::stop;
  std::string stop = {};            // with end: the stop string that was met
  std::string malformed_call = {};  // with end: why a call is in the text instead
  Usage usage = {};                 // with start and done
  Fault fault = {};
};

// Vectors for texts, each of length 1.
struct EmbeddingRequest {
  std::vector<PlainPrompt> inputs;
  std::string cache_salt;
};
struct Embeddings {
  std::vector<std::vector<float>> vectors;  // [input][dim]
  int prompt_tokens = 0;
  bool cancelled = false;  // there are none; `fault` says why, unless it was by cancel
  Fault fault = {};
};

struct ModelCard {
  std::string name;
  std::vector<std::string> aliases;  // further names it answers to; "*": to any
  int64_t created = 0;               // seconds since 1970
  int context = 0;                   // tokens of one prompt and its answer
  int dim = 0;                       // of an embedding
  bool answers_to(const std::string& asked) const;
};

// Who completes: the engine here, or another server.
class Completer {
 public:
  using OnEvent = std::function<void(const CompletionEvent&)>;
  using OnEmbedded = std::function<void(const Embeddings&)>;
  virtual ~Completer() = default;

  virtual const ModelCard& card() const = 0;
  // on_event is called on a thread of the completer's, one call after the other, from before this returns on;
  // done or failed comes last and once. It must not block for long. Throws Error naming the field that is
  // wrong.
  virtual uint64_t submit(const CompletionRequest& request, OnEvent on_event) = 0;
  // on_done is called once, on a thread of the completer's. Throws as submit does.
  virtual uint64_t embed(const EmbeddingRequest& request, OnEmbedded on_done) = 0;
  virtual void cancel(uint64_t id) = 0;  // done comes within a step; an unknown id is none

  // The prompt that submit would make of a request with one.
  virtual std::vector<Token> tokens(const CompletionRequest& request) const = 0;
  virtual std::string rendered(const ChatPrompt& chat) const = 0;
  virtual std::string text(std::span<const Token> tokens) const = 0;  // throws Error for an unknown id
};

}  // namespace minke

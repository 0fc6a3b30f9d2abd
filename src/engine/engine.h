#pragma once
// Requests in, tokens out: many at once over one model.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/pooling.h"
#include "engine/sampling.h"
#include "kv/disk_pages.h"
#include "model/instance.h"
#include "text/token_mask.h"
#include "text/tokenizer.h"

namespace minke {

enum class FinishReason : uint8_t {
  stop,     // an end token, a stop token or a stop string
  length,   // max_tokens
  context,  // the context is full
  cancelled,
  failed,
};
const char* name(FinishReason reason);

// One generated token. Text may be empty: half a character, or what may become a stop string, is held back.
struct Output {
  Token token;
  std::string text;
  std::vector<TextRun> added;  // the parts of the text that added tokens wrote
  Logprobs logprobs;           // where asked for
};

struct Finish {
  FinishReason reason;
  std::string text;  // held back until now
  std::vector<TextRun> added;
  std::string stop;   // the stop string that was met
  std::string error;  // with failed
  int prompt_tokens = 0;
  int cached_tokens = 0;                        // of the prompt, found in the cache
  int output_tokens = 0;                        // the end token included
  int drafted_tokens = 0, accepted_tokens = 0;  // by speculation
  double wait_seconds = 0, prefill_seconds = 0, decode_seconds = 0;
  std::vector<float> pooled;  // [dim], of a request with `pooling` that ended with `stop`
};

struct Request {
  std::vector<Token> prompt;  // not empty
  Sampling sampling;
  int max_tokens = -1;              // -1: until the context is full
  std::vector<std::string> stop;    // not part of the text that comes out
  std::vector<Token> stop_tokens;   // beside the model's own end tokens; their text does not come out
  bool ignore_end = false;          // go on after end tokens
  std::vector<Token> written;       // special tokens whose text comes out: those that a parser looks for
  std::shared_ptr<TokenMask> mask;  // what the answer may be; null: anything
  std::string cache_salt;           // requests share cached rows with those of the same salt only
  std::optional<Pooling> pooling;   // no answer, but one vector for the prompt: Finish::pooled
  // Called on the engine's thread, in order, finish last and exactly once. They must not block for long.
  std::function<void(int cached_tokens)>
      start;  // it begins: so many tokens of its prompt are there. May be null
  std::function<void(const Output&)> output;
  std::function<void(const Finish&)> finish;
};

struct EngineStats {
  int running = 0, waiting = 0;
  int pages = 0, free_pages = 0;
  int64_t steps = 0, prompt_tokens = 0, cached_tokens = 0, output_tokens = 0, accepted_tokens = 0;
  int64_t preempted = 0;  // times that a request gave its pages up for others
  DiskStats disk;
};

// Where drafts come from.
enum class DraftBy : uint8_t {
  automatic,  // lookup where it finds something, else the MTP layer where the model has one
  lookup,     // what followed where the text was the same before
  mtp,
};

struct EngineOptions {
  InstanceOptions instance;  // limits: sequences run at once, context tokens of all of them, rows a step
  int draft = 0;             // tokens one step tries ahead, of all sequences together; outputs are the same
  DraftBy draft_by = DraftBy::automatic;
  std::optional<DiskOptions> disk = {};  // where pages outlive the engine

  InstanceOptions for_instance() const;  // with the rows of logits and the MTP layer that such steps need
};

// One thread owns all model state; any thread may call. Model and tokenizer must outlive the engine.
class Engine {
 public:
  // Throws Error where drafts are to come from an MTP layer that the model has not, or the disk's folder
  // cannot be made.
  Engine(const Model& model, const Tokenizer& tokenizer, EngineOptions options);
  ~Engine();  // cancels what runs

  // Throws Error naming the setting that is wrong, or saying that the prompt is longer than the context. Same
  // model, prompt, sampling and seed: same output, whatever runs beside it and on however many threads.
  uint64_t submit(Request request);
  void cancel(uint64_t id);  // its finish comes within a step; an unknown id is none
  EngineStats stats() const;
  const std::vector<Token>& end_tokens() const;  // of tokenizer and model: where an answer ends
  int vocab() const;                             // ids of tokens are 0 to vocab - 1
  int context() const;  // tokens that prompt and answer of one request may have together

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minke

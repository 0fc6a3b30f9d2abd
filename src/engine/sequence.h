#pragma once
// One request as the engine sees it.

#include <chrono>
#include <optional>

#include "engine/answer_text.h"
#include "engine/draft.h"
#include "engine/engine.h"
#include "kv/pool.h"

namespace minke {

using Clock = std::chrono::steady_clock;

struct Sequence {
  Sequence(uint64_t number, Request r, const Tokenizer& tokenizer)
      : id(number),
        request(std::move(r)),
        tokens(request.prompt),
        pooled(request.pooling.value_or(Pooling::mean)),
        text(tokenizer, request.stop, request.written) {}

  uint64_t id;
  Request request;
  std::vector<Token> tokens;  // prompt, then answer
  KvView kv;
  int most_tokens = 0;                          // prompt and answer together
  FinishReason at_most = FinishReason::length;  // why no more
  int cached = 0;
  int shared_pages = 0;      // whole pages that others may use
  std::vector<Token> draft;  // behind the unfed token, in the next step
  bool draft_by_mtp = false;
  LookupLength lookup_length;
  MtpLength mtp_length;
  int drafted = 0, accepted = 0;
  std::optional<FinishReason> end;  // it has all its tokens
  bool ended = false;               // its finish is on its way
  Pooled pooled;
  AnswerText text;
  Clock::time_point submitted = Clock::now(), started, answered;

  int prompt_size() const { return static_cast<int>(request.prompt.size()); }
  int answer_size() const { return static_cast<int>(tokens.size()) - prompt_size(); }
  // What of its prompt may come from the cache: where all hidden states are wanted, those that it has had.
  std::span<const Token> cacheable() const {
    const size_t all = tokens.size() - 1, had = static_cast<size_t>(pooled.seen());
    return std::span(tokens).first(request.pooling == Pooling::mean ? std::min(all, had) : all);
  }
  int unfed() const { return static_cast<int>(tokens.size()) - kv.length; }
  Said said() const {
    const std::span<const Token> all = tokens;
    return {all.first(request.prompt.size()), all.subspan(request.prompt.size())};
  }
};

}  // namespace minke

#pragma once
// Completions from the engine of this process.

#include <memory>
#include <string>

#include "api/completion.h"
#include "api/kept_answer.h"
#include "engine/engine.h"
#include "text/chat.h"

namespace minke {

struct LocalCompleterOptions {
  ModelCard card;                             // context: at most the engine's; 0: as much
  Json kwargs = JsonObject{};                 // for the template; a request's own go before
  Sampling advised;                           // what a request does not say
  Pooling pooling = Pooling::mean;            // of embeddings
  std::shared_ptr<AnswerKeeper> keeper = {};  // null: answers that come back are tokenised anew
};

class LocalCompleter final : public Completer {
 public:
  // Engine and tokenizer must outlive it, and it the requests: the engine ends before it does.
  LocalCompleter(Engine& engine, const Tokenizer& tokenizer, ChatFormat chat, LocalCompleterOptions options);
  ~LocalCompleter() override;

  const ModelCard& card() const override;
  uint64_t submit(const CompletionRequest& request, OnEvent on_event) override;
  uint64_t embed(const EmbeddingRequest& request, OnEmbedded on_done) override;
  void cancel(uint64_t id) override;
  std::vector<Token> tokens(const CompletionRequest& request) const override;
  std::string rendered(const ChatPrompt& chat) const override;
  std::string text(std::span<const Token> tokens) const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minke

#pragma once
// One request for embeddings that the engine answers, a few texts at a time.

#include <memory>
#include <mutex>
#include <vector>

#include "api/completion.h"
#include "engine/engine.h"

namespace minke {

class Embedding : public std::enable_shared_from_this<Embedding> {
 public:
  // Of each text's request its prompt and salt are set.
  Embedding(Engine& engine, std::vector<Request> texts, Completer::OnEmbedded on_done)
      : engine_(engine), texts_(std::move(texts)), on_done_(std::move(on_done)) {
    made_.vectors.resize(texts_.size());
  }

  void start();
  void cancel();

  std::function<void()> when_over;  // called behind on_done

 private:
  void submit_next();
  void give_up(Fault fault);
  void go_on(std::unique_lock<std::mutex>& lock);  // submits what may be, or ends
  void on_finish(size_t at, const Finish& finish);

  Engine& engine_;
  std::vector<Request> texts_;
  const Completer::OnEmbedded on_done_;

  std::mutex mutex_;  // of all below
  Embeddings made_;
  std::vector<uint64_t> under_way_;  // the engine's ids
  size_t next_ = 0, open_ = 0;
  bool given_up_ = false;
};

}  // namespace minke

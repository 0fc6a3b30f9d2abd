#include "engine/windows.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace minke {

void for_each_window(std::span<const Token> tokens, int window, Token start,
                     const std::function<void(std::span<const Token>, int64_t)>& f) {
  MINKE_CHECK(window >= 1);
  std::vector<Token> piece;
  for (size_t at = 0; at < tokens.size(); at += static_cast<size_t>(window)) {
    const size_t end = std::min(tokens.size(), at + static_cast<size_t>(window));
    piece.clear();
    if (start >= 0) piece.push_back(start);
    piece.insert(piece.end(), tokens.begin() + static_cast<int64_t>(at),
                 tokens.begin() + static_cast<int64_t>(end));
    f(piece, static_cast<int64_t>(end));
  }
}

void run_window(std::span<Instance* const> instances, std::span<const Token> window,
                const std::function<void(int, int, std::span<const float* const>)>& f) {
  const int n = static_cast<int>(window.size());
  int rows = n, at_once = n;
  std::vector<KvView> views(instances.size());
  std::vector<const float*> logits;
  for (size_t i = 0; i < instances.size(); ++i) {
    Instance& instance = *instances[i];
    if (!instance.kv().reserve(views[i], n))
      throw Error(fmt::format("a window of {} tokens does not fit the context", n));
    rows = std::min(rows, instance.state().limits.rows);
    at_once = std::min(at_once, instance.state().limits.logit_rows);
    logits.push_back(instance.state().logits);
  }
  for (int at = 0; at < n; at += rows) {
    const int count = std::min(rows, n - at);
    for (size_t i = 0; i < instances.size(); ++i) {
      const SequenceSlice slice{&views[i], 0, count, at, Want::all_hidden, n};
      instances[i]->forward(
          {window.subspan(static_cast<size_t>(at), static_cast<size_t>(count)), {&slice, 1}, {}});
    }
    for (int first = 0; first < count; first += at_once) {
      const int some = std::min(at_once, count - first);
      for (Instance* instance : instances) {
        State& state = instance->state();
        head(instance->context(), instance->model().weights, state,
             state.output + int64_t{first} * instance->config().dim, some, state.logits);
      }
      f(at + first, some, logits);
    }
  }
  for (size_t i = 0; i < instances.size(); ++i) instances[i]->kv().truncate(views[i], 0);
}

}  // namespace minke

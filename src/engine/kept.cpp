#include "engine/kept.h"

#include <algorithm>

#include "base/error.h"

namespace minke {

void Kept::keep(KvPool& pool, std::vector<Token> tokens, KvView view) {
  MINKE_CHECK(static_cast<int>(tokens.size()) == view.length);
  if (view.length < kPageTokens) return pool.truncate(view, 0);
  entries_.push_back({std::move(tokens), std::move(view)});
}

KvView Kept::take(KvPool& pool, const std::vector<Token>& tokens) {
  auto best = entries_.end();
  int most = 0;
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    const size_t n = std::min(it->tokens.size(), tokens.size());
    const auto differ =
        std::mismatch(it->tokens.begin(), it->tokens.begin() + static_cast<int64_t>(n), tokens.begin());
    const int same = static_cast<int>(differ.first - it->tokens.begin());
    if (same > most) {
      most = same;
      best = it;
    }
  }
  // The last token is computed anew: its logits are what the answer starts from.
  most = std::min(most, static_cast<int>(tokens.size()) - 1);
  if (best == entries_.end() || most < kPageTokens) return {};
  KvView view = std::move(best->view);
  entries_.erase(best);
  pool.truncate(view, most);
  return view;
}

bool Kept::drop_oldest(KvPool& pool) {
  if (entries_.empty()) return false;
  pool.truncate(entries_.front().view, 0);
  entries_.pop_front();
  return true;
}

int Kept::pages() const {
  size_t pages = 0;
  for (const Entry& e : entries_) pages += e.view.pages.size();
  return static_cast<int>(pages);
}

}  // namespace minke

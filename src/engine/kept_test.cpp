#include "engine/kept.h"

#include <algorithm>
#include <cstring>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/random.h"

namespace minke {
namespace {

KvLayout two_layers() {
  KvRow row;
  row.key = row.value = {KvFormat::bf16, 8, 0};
  return KvLayout(2, lay_out(row));
}

// What the row of a token holds: it depends on all tokens up to it, as a real one does.
uint64_t stamp(const std::vector<Token>& tokens, int position) {
  uint64_t h = 1469598103934665603u;
  for (int i = 0; i <= position; ++i)
    h = (h ^ static_cast<uint64_t>(tokens[static_cast<size_t>(i)])) * 1099511628211u;
  return h;
}

// Conversations over a pool, each row stamped; every view taken from the cache must hold the right stamps.
class Conversations {
 public:
  explicit Conversations(int pages) : pool_(two_layers(), pages) {}

  struct Live {
    std::vector<Token> tokens;
    KvView view;
  };

  // Starts with a prompt; false where pages are short.
  bool start(const std::vector<Token>& prompt) {
    Live live{prompt, kept_.take(pool_, prompt)};
    RC_ASSERT(live.view.length < static_cast<int>(prompt.size()));  // one token is always left to compute
    for (int layer = 0; layer < 2; ++layer)
      for (int t = 0; t < live.view.length; ++t) RC_ASSERT(read(layer, live.view, t) == stamp(prompt, t));
    while (!pool_.reserve(live.view, static_cast<int>(prompt.size()))) {
      if (kept_.drop_oldest(pool_)) continue;
      pool_.truncate(live.view, 0);
      return false;
    }
    write(live, live.view.length);
    live_.push_back(std::move(live));
    return true;
  }

  bool grow(size_t which, const std::vector<Token>& more) {
    Live& live = live_[which];
    const int was = live.view.length;
    if (!pool_.reserve(live.view, was + static_cast<int>(more.size()))) return false;
    live.tokens.insert(live.tokens.end(), more.begin(), more.end());
    write(live, was);
    return true;
  }

  void end(size_t which, bool keep) {
    Live live = std::move(live_[which]);
    live_.erase(live_.begin() + static_cast<int64_t>(which));
    if (keep)
      kept_.keep(pool_, std::move(live.tokens), std::move(live.view));
    else
      pool_.truncate(live.view, 0);
  }

  void drop() { kept_.drop_oldest(pool_); }
  size_t live() const { return live_.size(); }

  // No page has two owners and none is lost.
  void check() {
    std::set<int32_t> owned;
    size_t held = 0;
    for (const Live& l : live_) {
      held += l.view.pages.size();
      owned.insert(l.view.pages.begin(), l.view.pages.end());
      for (int t = 0; t < l.view.length; ++t) RC_ASSERT(read(1, l.view, t) == stamp(l.tokens, t));
    }
    RC_ASSERT(owned.size() == held);
    RC_ASSERT(static_cast<int>(held) + kept_.pages() + pool_.free_pages() == pool_.pages());
  }

 private:
  void write(Live& live, int from) {
    for (int layer = 0; layer < 2; ++layer)
      for (int t = from; t < static_cast<int>(live.tokens.size()); ++t) {
        const uint64_t s = stamp(live.tokens, t);
        std::memcpy(pool_.row_at(layer, live.view, t), &s, sizeof s);
      }
    live.view.length = static_cast<int>(live.tokens.size());
  }
  uint64_t read(int layer, const KvView& view, int t) const {
    uint64_t s;
    std::memcpy(&s, pool_.row_at(layer, view, t), sizeof s);
    return s;
  }

  KvPool pool_;
  Kept kept_;
  std::vector<Live> live_;
};

// Prompts that often share a beginning.
std::vector<Token> some_prompt(Random& random) {
  std::vector<Token> tokens;
  const Token kind = static_cast<Token>(random.below(3));
  const auto shared = random.below(200);
  for (uint64_t i = 0; i < shared; ++i) tokens.push_back(kind);
  for (uint64_t i = random.below(60) + 1; i > 0; --i) tokens.push_back(static_cast<Token>(random.below(2)));
  return tokens;
}

TEST(Kept, RandomConversationsFindTheirOwnRows) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    Conversations c(static_cast<int>(4 + random.below(12)));
    for (int step = 0; step < 120; ++step) {
      const auto action = random.below(8);
      if (action < 3 || c.live() == 0)
        c.start(some_prompt(random));
      else if (action < 5)
        c.grow(random.below(c.live()), some_prompt(random));
      else if (action < 7)
        c.end(random.below(c.live()), random.below(4) > 0);
      else
        c.drop();
      c.check();
    }
  }));
}

TEST(Kept, TakesTheLongestBeginningAndNoLessThanAPage) {
  KvPool pool(two_layers(), 12);
  Kept kept;
  const auto keep = [&](Token fill, int count) {
    KvView view;
    ASSERT_TRUE(pool.reserve(view, count));
    view.length = count;
    kept.keep(pool, std::vector<Token>(static_cast<size_t>(count), fill), std::move(view));
  };
  keep(1, 100);
  keep(1, 200);
  keep(2, 63);  // less than a page: not worth it
  EXPECT_EQ(kept.pages(), 2 + 4);
  EXPECT_EQ(kept.take(pool, std::vector<Token>(150, 2)).length, 0);
  std::vector<Token> prompt(150, 1);
  KvView view = kept.take(pool, prompt);
  EXPECT_EQ(view.length, 149);  // cut down from 200
  EXPECT_EQ(view.pages.size(), 3u);
  pool.truncate(view, 0);
  EXPECT_EQ(kept.take(pool, std::vector<Token>(64, 1)).length, 0);  // 63 would be cached
  EXPECT_EQ(kept.take(pool, std::vector<Token>(65, 1)).length, 64);
  EXPECT_FALSE(kept.drop_oldest(pool));
}

TEST(Kept, DropsTheOldestFirst) {
  KvPool pool(two_layers(), 8);
  Kept kept;
  for (const Token fill : {1, 2, 3}) {
    KvView view;
    ASSERT_TRUE(pool.reserve(view, 70));
    view.length = 70;
    kept.keep(pool, std::vector<Token>(70, fill), std::move(view));
  }
  ASSERT_TRUE(kept.drop_oldest(pool));
  EXPECT_EQ(kept.take(pool, std::vector<Token>(70, 1)).length, 0);
  EXPECT_EQ(kept.take(pool, std::vector<Token>(70, 2)).length, 69);
}

}  // namespace
}  // namespace minke

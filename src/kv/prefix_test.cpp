#include "kv/prefix.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>

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
uint64_t stamp(const std::vector<int32_t>& tokens, int position) {
  uint64_t h = 1469598103934665603u;
  for (int i = 0; i <= position; ++i)
    h = (h ^ static_cast<uint64_t>(tokens[static_cast<size_t>(i)])) * 1099511628211u;
  return h;
}

// Conversations over a pool, each row stamped; every view taken from the cache must hold the right stamps.
class Conversations {
 public:
  explicit Conversations(int pages) : pool_(two_layers(), pages), kept_(pool_) {}

  struct Live {
    std::vector<int32_t> tokens;
    KvView view;
  };

  // Starts with a prompt; false where pages are short.
  bool start(const std::vector<int32_t>& prompt) {
    Live live{prompt, kept_.take(std::span(prompt).first(prompt.size() - 1))};
    RC_ASSERT(live.view.length < static_cast<int>(prompt.size()));
    for (int layer = 0; layer < 2; ++layer)
      for (int t = 0; t < live.view.length; ++t) RC_ASSERT(read(layer, live.view, t) == stamp(prompt, t));
    const int more =
        static_cast<int>((prompt.size() + kPageTokens - 1) / kPageTokens - live.view.pages.size());
    const bool fits = pool_.free_pages() + kept_.evictable() >= more;
    RC_ASSERT(kept_.make_room(more) == fits);
    if (!fits) {
      pool_.truncate(live.view, 0);
      return false;
    }
    RC_ASSERT(pool_.reserve(live.view, static_cast<int>(prompt.size())));
    write(live, live.view.length);
    live_.push_back(std::move(live));
    return true;
  }

  bool grow(size_t which, const std::vector<int32_t>& more) {
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
      kept_.give(live.tokens, std::move(live.view));
    else
      pool_.truncate(live.view, 0);
  }

  void share(size_t which) { kept_.keep(live_[which].tokens, live_[which].view); }
  void drop() { kept_.make_room(pool_.free_pages() + 1); }
  size_t live() const { return live_.size(); }

  // Every page has as many owners as it counts, none is lost, and no row was overwritten.
  void check() {
    std::map<int32_t, int> owners;
    for (const Live& l : live_) {
      for (const int32_t page : l.view.pages) ++owners[page];
      for (int t = 0; t < l.view.length; ++t) RC_ASSERT(read(1, l.view, t) == stamp(l.tokens, t));
    }
    int used = 0, by_tree = 0;
    for (int32_t page = 0; page < pool_.pages(); ++page) {
      used += pool_.uses(page) > 0;
      by_tree += pool_.uses(page) - owners[page];
      RC_ASSERT(pool_.uses(page) - owners[page] == 0 || pool_.uses(page) - owners[page] == 1);
    }
    RC_ASSERT(by_tree == kept_.pages());
    RC_ASSERT(used + pool_.free_pages() == pool_.pages());
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
  PrefixTree kept_;
  std::vector<Live> live_;
};

// Prompts that often share a beginning.
std::vector<int32_t> some_prompt(Random& random) {
  std::vector<int32_t> tokens;
  const int32_t kind = static_cast<int32_t>(random.below(3));
  const auto shared = random.below(200);
  for (uint64_t i = 0; i < shared; ++i) tokens.push_back(kind);
  for (uint64_t i = random.below(60) + 1; i > 0; --i) tokens.push_back(static_cast<int32_t>(random.below(2)));
  return tokens;
}

TEST(PrefixTree, RandomConversationsFindTheirOwnRows) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    Conversations c(static_cast<int>(4 + random.below(12)));
    for (int step = 0; step < 120; ++step) {
      const auto action = random.below(9);
      if (action < 3 || c.live() == 0)
        c.start(some_prompt(random));
      else if (action < 5)
        c.grow(random.below(c.live()), some_prompt(random));
      else if (action < 7)
        c.end(random.below(c.live()), random.below(4) > 0);
      else if (action < 8)
        c.share(random.below(c.live()));
      else
        c.drop();
      c.check();
    }
  }));
}

class Tree : public testing::Test {
 protected:
  KvPool pool{two_layers(), 8};
  PrefixTree tree{pool};

  static std::vector<int32_t> tokens(int32_t fill, size_t count) { return std::vector<int32_t>(count, fill); }
  KvView view(int count) {
    KvView v;
    EXPECT_TRUE(pool.reserve(v, count));
    v.length = count;
    return v;
  }
};

TEST_F(Tree, SharesWholePagesAndCopiesAPart) {
  tree.give(tokens(1, 150), view(150));
  EXPECT_EQ(tree.pages(), 3);
  KvView a = tree.take(tokens(1, 149)), b = tree.take(tokens(1, 200));
  EXPECT_EQ(a.length, 149);
  EXPECT_EQ(b.length, 150);
  EXPECT_EQ(a.pages[1], b.pages[1]);
  EXPECT_NE(a.pages[2], b.pages[2]);
  EXPECT_EQ(tree.evictable(), 1);  // the part; the pages before it are in use
  EXPECT_EQ(tree.take(tokens(2, 100)).length, 0);
  pool.truncate(a, 0);
  pool.truncate(b, 0);
  EXPECT_EQ(tree.evictable(), 3);
}

TEST_F(Tree, ARunningSequenceSharesWhatItHasComputed) {
  KvView first = view(130);
  tree.keep(tokens(1, 130), first);
  EXPECT_EQ(tree.pages(), 2);
  KvView second = tree.take(tokens(1, 129));
  EXPECT_EQ(second.length, 128);
  EXPECT_EQ(second.pages[0], first.pages[0]);
  tree.give(tokens(1, 130), std::move(first));
  EXPECT_EQ(tree.pages(), 3);
  EXPECT_EQ(tree.evictable(), 1);
}

TEST_F(Tree, DropsTheLeastRecentlyUsed) {
  for (const int32_t fill : {1, 2, 3}) tree.give(tokens(fill, 70), view(70));
  KvView again = tree.take(tokens(1, 64));
  pool.truncate(again, 0);
  ASSERT_TRUE(tree.make_room(5));  // the last parts of 1 and 2, and the page of 2
  EXPECT_EQ(tree.take(tokens(2, 70)).length, 0);
  EXPECT_EQ(tree.take(tokens(1, 64)).length, 64);
}

TEST_F(Tree, LongerPartsTakeThePlaceOfShorterOnes) {
  tree.give(tokens(1, 70), view(70));
  tree.give(tokens(1, 90), view(90));
  EXPECT_EQ(tree.pages(), 2);
  EXPECT_EQ(pool.free_pages(), 6);
  EXPECT_EQ(tree.take(tokens(1, 90)).length, 90);
}

TEST_F(Tree, NeverGivesBackWhatIsInUse) {
  tree.give(tokens(1, 128), view(128));
  const KvView held = tree.take(tokens(1, 128));
  EXPECT_FALSE(tree.make_room(7));
  EXPECT_EQ(pool.free_pages(), 6);
  EXPECT_EQ(held.length, 128);
}

TEST_F(Tree, SaltsKeepSequencesApart) {
  tree.give(tokens(1, 64), view(64), "a");
  EXPECT_EQ(tree.take(tokens(1, 64)).length, 0);
  EXPECT_EQ(tree.take(tokens(1, 64), "b").length, 0);
  EXPECT_EQ(tree.take(tokens(1, 64), "a").length, 64);
}

class DiskTree : public testing::Test {
 protected:
  DiskTree() {
    std::string name = (std::filesystem::temp_directory_path() / "minke_prefix_XXXXXX").string();
    folder = mkdtemp(name.data());
  }
  ~DiskTree() override { std::filesystem::remove_all(folder); }

  static std::vector<int32_t> tokens(int32_t from, size_t count) {
    std::vector<int32_t> t(count);
    for (size_t i = 0; i < count; ++i) t[i] = from + static_cast<int32_t>(i);
    return t;
  }

  struct Cache {
    explicit Cache(const std::filesystem::path& folder, int pages = 8)
        : pool(two_layers(), pages),
          disk({folder}, first_key("model"), pool.bytes_of_page()),
          tree(pool, &disk, "model") {}
    // A sequence whose rows all hold `fill`.
    void compute(const std::vector<int32_t>& t, int fill) {
      KvView view = tree.take(t);
      ASSERT_TRUE(tree.make_room(static_cast<int>(t.size() / kPageTokens + 1)));
      const int from = view.length;
      ASSERT_TRUE(pool.reserve(view, static_cast<int>(t.size())));
      for (int layer = 0; layer < 2; ++layer)
        for (int i = from; i < static_cast<int>(t.size()); ++i)
          std::memset(pool.row_at(layer, view, i), fill, static_cast<size_t>(pool.row(layer).bytes));
      view.length = static_cast<int>(t.size());
      tree.give(t, std::move(view));
      tree.spill();
    }
    bool holds(const KvView& view, int fill) const {
      for (int layer = 0; layer < 2; ++layer)
        for (int i = 0; i < view.length; ++i)
          if (pool.row_at(layer, view, i)[pool.row(layer).bytes - 1] != static_cast<std::byte>(fill))
            return false;
      return true;
    }
    KvPool pool;
    DiskPages disk;
    PrefixTree tree;
  };

  std::filesystem::path folder;
};

TEST_F(DiskTree, WholePagesComeBackAfterARestart) {
  {
    Cache(folder).compute(tokens(100, 200), 9);
  }
  Cache cache(folder);
  const KvView view = cache.tree.take(tokens(100, 200));
  EXPECT_EQ(view.length, 192);
  EXPECT_TRUE(cache.holds(view, 9));
  EXPECT_EQ(cache.disk.stats().read, 3);
}

TEST_F(DiskTree, WhatMadeRoomComesBackFromDisk) {
  Cache cache(folder, 4);
  cache.compute(tokens(100, 130), 1);
  cache.compute(tokens(900, 130), 2);  // the first has to go
  cache.disk.sync();
  EXPECT_GE(cache.disk.stats().written, 2);
  const KvView view = cache.tree.take(tokens(100, 130));
  EXPECT_EQ(view.length, 128);
  EXPECT_TRUE(cache.holds(view, 1));
}

TEST_F(DiskTree, DamagedPagesEndTheMatch) {
  {
    Cache(folder).compute(tokens(100, 200), 9);
  }
  const PageKey first = next_key(first_key("model"), tokens(100, kPageTokens));
  const PageKey second = next_key(first, tokens(100 + kPageTokens, kPageTokens));
  std::filesystem::resize_file(folder / hex(second).substr(0, 2) / (hex(second) + ".page"), 500);
  Cache cache(folder);
  EXPECT_EQ(cache.tree.take(tokens(100, 200)).length, 64);
  EXPECT_EQ(cache.disk.stats().discarded, 1);
}

}  // namespace
}  // namespace minke

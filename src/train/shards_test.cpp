#include "train/shards.h"

#include <algorithm>
#include <fstream>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "base/random.h"

namespace minke {
namespace {

class Shards : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path path(int index) const { return folder_ / ("train-" + std::to_string(index) + ".tokens"); }
  TokenShards open(const TokenShards::Expected& expected = {}) const {
    return TokenShards::open(folder_, "train", expected);
  }
  // The message of what opening throws.
  std::string wrong(const TokenShards::Expected& expected = {}) const {
    try {
      open(expected);
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing";
  }
  void write(const std::string& bytes) const {  // without a sync: it is done a thousand times
    std::ofstream(path(0), std::ios::binary) << bytes;
  }

  fs::path folder_ = fs::path(testing::TempDir()) /
                     (std::string("shards-") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

const ShardSet kSet = {.id = {1, 2}, .tokenizer = {3, 4}, .vocab = 1000, .row = 0, .count = 1};

ShardSet of_two() {
  ShardSet set = kSet;
  set.count = 2;
  return set;
}

ShardContent content(std::initializer_list<std::vector<Token>> documents) {
  ShardContent c;
  for (const auto& document : documents) c.add(document);
  return c;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

TEST_F(Shards, RowsFollowTheStream) {
  write_shard(path(0), of_two(), 0, content({{1, 2, 3}, {4, 5}}));
  ShardContent second;
  second.add(std::vector<Token>{6, 7, 8, 9}, {false, false, true, false});
  write_shard(path(1), of_two(), 1, second);
  const TokenShards shards = open();
  EXPECT_EQ(shards.tokens(), 9);
  EXPECT_EQ(shards.documents(), 3);
  EXPECT_EQ(shards.learned(), 2 + 1 + 1);
  ASSERT_EQ(shards.rows(4), 3);
  TokenRow row;
  shards.read(0, 4, 1, row);
  EXPECT_EQ(row.tokens, (std::vector<Token>{1, 2, 3, 4, 5}));
  EXPECT_EQ(row.starts, (std::vector<int32_t>{0, 3}));
  EXPECT_EQ(row.loss, (std::vector<uint8_t>{0, 1, 1, 0, 1}));
  shards.read(1, 4, 1, row);
  EXPECT_EQ(row.tokens, (std::vector<Token>{5, 6, 7, 8, 9}));
  EXPECT_EQ(row.starts, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(row.loss, (std::vector<uint8_t>{1, 0, 0, 1, 0}));
  shards.read(2, 4, 2, row);  // the last one is padded
  EXPECT_EQ(row.tokens, (std::vector<Token>{9, 0, 0, 0, 0, 0}));
  EXPECT_EQ(row.starts, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(row.loss, (std::vector<uint8_t>(6, 0)));
}

TEST_F(Shards, MasksOfSomeDocumentsOnly) {
  ShardContent c;
  c.add(std::vector<Token>{1, 2});
  c.add(std::vector<Token>{3, 4}, {true, false});
  c.add(std::vector<Token>{5, 6});
  EXPECT_EQ(c.loss, (std::vector<bool>{true, true, true, false, true, true}));
}

TEST_F(Shards, AnyStreamComesBack) {
  rc::check([&] {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    const int vocab = *rc::gen::element(1000, 65536, 65537, 200000);
    ShardSet set = kSet;
    set.vocab = vocab;
    set.count = *rc::gen::inRange(1, 4);
    std::vector<Token> stream;
    std::vector<uint8_t> learned;
    std::set<int64_t> starts;
    for (int s = 0; s < set.count; ++s) {
      ShardContent c;
      for (int d = *rc::gen::inRange(1, 5); d > 0; --d) {
        const auto document =
            *rc::gen::nonEmpty(rc::gen::container<std::vector<Token>>(rc::gen::inRange(0, vocab)));
        std::vector<bool> mask =
            *rc::gen::container<std::vector<bool>>(document.size(), rc::gen::arbitrary<bool>());
        starts.insert(static_cast<int64_t>(stream.size()));
        stream.insert(stream.end(), document.begin(), document.end());
        c.add(document, mask);
        mask[0] = false;
        learned.insert(learned.end(), mask.begin(), mask.end());
      }
      write_shard(path(s), set, s, c);
    }
    const TokenShards shards = open();
    const int length = *rc::gen::inRange(1, 20), ahead = *rc::gen::inRange(0, 3);
    for (int64_t r = 0; r < shards.rows(length); ++r) {
      TokenRow row;
      shards.read(r, length, ahead, row);
      std::set<int32_t> expected = {0};
      const auto n = static_cast<int64_t>(stream.size());
      for (int i = 0; i < length + ahead; ++i) {
        const int64_t at = r * length + i;
        RC_ASSERT(row.tokens[static_cast<size_t>(i)] == (at < n ? stream[static_cast<size_t>(at)] : 0));
        RC_ASSERT(row.loss[static_cast<size_t>(i)] == (at < n ? learned[static_cast<size_t>(at)] : 0));
        if (starts.contains(at) || at == n) expected.insert(i);
      }
      RC_ASSERT(row.starts == std::vector<int32_t>(expected.begin(), expected.end()));
    }
    RC_ASSERT(shards.learned() == std::count(learned.begin(), learned.end(), 1));
  });
}

TEST_F(Shards, EveryCutAndEveryFlippedBitIsFound) {
  ShardContent c = content({{1, 2, 3}, {999}});
  c.add(std::vector<Token>{5, 6}, {false, true});
  write_shard(path(0), kSet, 0, c);
  const std::string good = read_file(path(0));
  for (size_t n = 0; n < good.size(); ++n) {
    write(good.substr(0, n));
    const std::string message = wrong();
    EXPECT_TRUE(contains(message, "cut short") && contains(message, "train-0.tokens")) << n << message;
  }
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string damaged = good;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    write(damaged);
    EXPECT_TRUE(contains(wrong(), "train-0.tokens")) << bit << wrong();
  }
  write(good + "x");
  EXPECT_TRUE(contains(wrong(), "goes on after its end")) << wrong();
  write("text");
  EXPECT_TRUE(contains(wrong(), "cut short")) << wrong();
  write(std::string(200, 'x'));
  EXPECT_TRUE(contains(wrong(), "is no token shard")) << wrong();
}

TEST_F(Shards, ATokenOutsideTheVocabularyIsFoundWithoutAChecksum) {
  write_shard(path(0), kSet, 0, content({{1, 2, 3}}));
  std::string bytes = read_file(path(0));
  bytes[120] = bytes[121] = '\x7f';
  write(bytes);
  EXPECT_TRUE(contains(wrong(), "checksum")) << wrong();
  const TokenShards shards = open({.check_content = false});
  TokenRow row;
  EXPECT_THROW(shards.read(0, 4, 1, row), Error);
}

TEST_F(Shards, MixedUpShardsAreNamed) {
  write_shard(path(0), of_two(), 0, content({{1}}));
  EXPECT_TRUE(contains(wrong(), "shard 2 of 2 is missing")) << wrong();
  write_shard(path(1), of_two(), 0, content({{1}}));
  EXPECT_TRUE(contains(wrong(), "train-1.tokens: is shard 1 of 2, and so is train-0.tokens")) << wrong();
  ShardSet other = of_two();
  other.id.high ^= 1;
  write_shard(path(1), other, 1, content({{1}}));
  EXPECT_TRUE(contains(wrong(), "train-1.tokens: belongs to another set")) << wrong();
  fs::remove(path(0));
  EXPECT_TRUE(contains(wrong(), "train-1.tokens: is shard 2 of 2, but only 1")) << wrong();
  fs::remove(path(1));
  EXPECT_TRUE(contains(wrong(), "has no token shards")) << wrong();
  fs::remove(folder_);
  EXPECT_TRUE(contains(wrong(), "cannot open")) << wrong();
}

TEST_F(Shards, AnotherTokenizersAreNamed) {
  write_shard(path(0), kSet, 0, content({{1}}));
  EXPECT_EQ(wrong({.tokenizer = kSet.tokenizer, .vocab = 1000}), "nothing");
  EXPECT_EQ(wrong({.vocab = 1024}), "nothing");
  EXPECT_TRUE(contains(wrong({.tokenizer = Hash128{9, 9}}), "another tokenizer")) << wrong();
  EXPECT_TRUE(contains(wrong({.vocab = 999}), "vocabulary of 1000"));
}

TEST(RowOrder, EveryEpochIsAPermutationOfItsOwn) {
  for (const int64_t rows : {1, 2, 3, 7, 64, 65, 1000}) {
    const RowOrder order(rows, 5);
    std::vector<std::vector<int64_t>> epochs(3);
    for (int64_t seen = 0; seen < 3 * rows; ++seen)
      epochs[static_cast<size_t>(order.epoch(seen))].push_back(order.row(seen));
    for (auto epoch : epochs) {
      std::sort(epoch.begin(), epoch.end());
      for (int64_t r = 0; r < rows; ++r) ASSERT_EQ(epoch[static_cast<size_t>(r)], r) << rows;
    }
    if (rows < 64) continue;
    EXPECT_NE(epochs[0], epochs[1]);
    EXPECT_NE(order.row(0) * rows + order.row(1), RowOrder(rows, 6).row(0) * rows + RowOrder(rows, 6).row(1));
  }
}

// Neighbours in the stream are not neighbours in time.
TEST(RowOrder, IsWellShuffled) {
  constexpr int64_t kRows = 4096;
  const RowOrder order(kRows, 1);
  int64_t near = 0;
  double apart = 0;
  for (int64_t i = 0; i < kRows; ++i) {
    const int64_t step = std::abs(order.row(i + 1 < kRows ? i + 1 : 0) - order.row(i));
    near += step <= 4;
    apart += static_cast<double>(step);
  }
  EXPECT_LT(near, 24);  // 8 expected
  EXPECT_NEAR(apart / kRows / (kRows / 3.0), 1, 0.05);
}

TEST(RowOrder, RanksShareABatch) {
  for (int world = 1; world <= 5; ++world) {
    int64_t next = 100;
    for (int rank = 0; rank < world; ++rank) {
      const RankShare share = rank_share(100, 12, rank, world);
      EXPECT_EQ(share.first, next);
      EXPECT_LE(share.last - share.first, (12 + world - 1) / world);
      next = share.last;
    }
    EXPECT_EQ(next, 112);
  }
}

}  // namespace
}  // namespace minke

#pragma once
// Token shards: what a model is trained on, as one file or many (docs/token_shards.md). Joined in the order
// of their numbers they are one stream of documents; a row is a piece of that stream.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/file.h"
#include "base/hash128.h"
#include "text/token.h"

namespace minke {

// What all shards of a set have in common.
struct ShardSet {
  Hash128 id{};         // of the set's content: shards of two sets do not mix
  Hash128 tokenizer{};  // fingerprint() of the tokenizer
  int vocab = 0;        // ids are 0 .. vocab - 1
  int row = 0;  // no document that fits into a row crosses a multiple of so many tokens; 0: they lie anywhere
  int count = 1;  // shards
};

// The content of one shard.
struct ShardContent {
  std::vector<Token> tokens;
  std::vector<uint64_t> ends;  // [documents] where each document ends: ascending, the last is tokens.size()
  std::vector<bool> loss;      // [tokens] whether a token is to be learned; empty: all are

  void add(std::span<const Token> document);                                    // all to be learned
  void add(std::span<const Token> document, const std::vector<bool>& learned);  // [document]
};

// Through AtomicFile. Throws Error naming the path.
void write_shard(const fs::path& path, const ShardSet& set, int index, const ShardContent& content);

// One row: `tokens` that are read, and `ahead` behind them that are only targets.
struct TokenRow {
  std::vector<Token>
      tokens;  // [tokens + ahead]; behind the stream's end: 0, as a document that is not learned
  std::vector<int32_t> starts;  // where documents start; the first is 0, also when it began in another row
  std::vector<uint8_t> loss;    // [tokens + ahead] 1: counts as a target. Never the first token of a document
};

// A set of shards, mapped. Immutable; any thread may read.
class TokenShards {
 public:
  struct Expected {
    std::optional<Hash128> tokenizer = {};  // the model's; none: any
    int vocab = 0;                          // rows of its embedding; 0: any
    bool check_content = true;              // read everything once and compare checksums
  };
  // All shards (*.tokens) of a folder that begin with `name`-, or one file by itself if it is a set of one.
  // Throws Error naming the file: damaged, cut short, missing, of another set, of another tokenizer.
  static TokenShards open(const fs::path& folder, std::string_view name, const Expected& expected);
  static TokenShards open_files(std::span<const fs::path> files, const Expected& expected);

  const ShardSet& set() const { return set_; }
  int64_t tokens() const { return begins_.back(); }
  int64_t documents() const;
  int64_t bytes() const;    // of its files
  int64_t learned() const;  // tokens that count as targets, once an epoch
  // Rows of `length` tokens that cover the stream, the last one padded where it is not full.
  int64_t rows(int length) const { return (tokens() + length - 1) / length; }
  // Row `index` of rows(length). Throws Error naming the shard where a token is outside the vocabulary.
  void read(int64_t index, int length, int ahead, TokenRow& row) const;

 private:
  struct Shard {
    MappedFile file;
    int token_bytes = 4;
    int64_t tokens = 0;
    std::span<const uint64_t> ends;
    const std::byte* data = nullptr;
    const uint8_t* loss = nullptr;  // a bit a token; null: all ones
  };
  static Shard open_one(const fs::path& path, const Expected& expected, ShardSet& set, int& index);
  void append(const Shard& shard, int64_t begin, int64_t end, TokenRow& row) const;

  ShardSet set_;
  std::vector<Shard> shards_;
  std::vector<int64_t> begins_{0};  // [shards + 1] first token of each in the stream
};

// The order in which rows are seen: every epoch has each row once, in an order of its own that follows from
// (seed, epoch) alone. Where training stands is one number, the rows seen so far by all ranks together.
class RowOrder {
 public:
  RowOrder(int64_t rows, uint64_t seed);  // rows >= 1

  int64_t epoch(int64_t seen) const { return seen / rows_; }
  int64_t row(int64_t seen) const;  // which row comes after so many

 private:
  int64_t rows_;
  uint64_t seed_;
  int half_bits_;
};

// Of a batch of `batch` rows after `seen` others, those of one rank: seen + [first, last). All ranks' shares,
// in order, are the batch, so what is learned does not depend on the number of ranks.
struct RankShare {
  int64_t first, last;
};
RankShare rank_share(int64_t seen, int64_t batch, int rank, int world);

}  // namespace minke

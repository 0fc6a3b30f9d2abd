#pragma once
// Interpolated modified Kneser-Ney language models over tokens (Chen and Goodman 1999, section 3): what a
// trained model has to be better than.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "train/shards.h"

namespace minke {

// Tokens with what is predicted of them: contexts do not cross a document's start.
struct NgramText {
  std::vector<Token> tokens;
  std::vector<uint8_t>
      starts;  // [tokens] 1: the first of a document, or nothing is known of what came before it
  std::vector<uint8_t> learned;  // [tokens] 1: counted, predicted. Never a first one
};

// All of a set. Throws Error where it has more than 2^31 tokens.
NgramText all_tokens(const TokenShards& shards);
// Of a set the rows (of `length` tokens and a target) that RowOrder gives for the first `seen`: what a model
// has been trained on. Rows that lie behind one another in the stream are one text.
NgramText seen_tokens(const TokenShards& shards, int length, uint64_t seed, int64_t seen);

// Counts of the highest order are those of the text. Those of n-grams below are how many different tokens
// were seen before them; and, for those that begin a document, how often. Single tokens have the different
// tokens before them only, since the first of a document is never predicted. Interpolation ends with 1 /
// vocab. Discounts are estimated for each order from its counts of counts; where a text is too small for that
// (one of n1 to n3 is none, or a discount comes out negative or above its count) they are 0.5, 1 and 1.5.
class KneserNey {
 public:
  KneserNey(const NgramText& text, int vocab, int order);

  // The natural logarithm of the probability of a token after up to order - 1 others.
  double log_probability(std::span<const Token> context, Token token) const;

  struct Score {
    int64_t tokens = 0;
    double nll = 0;  // a token, in nats
  };
  Score score(const NgramText& text) const;

  int64_t ngrams(int n) const { return orders_[static_cast<size_t>(n - 1)].grams.size(); }  // different ones
  // Those of counts 1, 2, and 3 or more.
  const std::array<double, 3>& discounts(int n) const {
    return orders_[static_cast<size_t>(n - 1)].discounts;
  }

 private:
  struct Gram {
    uint64_t key = 0;
    uint32_t count = 0;
    uint32_t counted = 0;  // is part of its context's sums
  };
  struct Context {
    uint64_t key = 0;
    uint64_t total = 0;               // of the counts of what follows
    std::array<uint32_t, 3> kinds{};  // of what follows: how many are seen once, twice, more often
  };
  // Open addressing by keys that are hashes already; a key of 0 is a free place.
  template <typename T>
  class Table {
   public:
    T& at(uint64_t key);
    const T* find(uint64_t key) const;
    int64_t size() const { return static_cast<int64_t>(size_); }
    const std::vector<T>& slots() const { return slots_; }

   private:
    void grow();
    std::vector<T> slots_;
    size_t size_ = 0;
  };
  struct Order {
    Table<Gram> grams;
    Table<Context> contexts;
    std::array<double, 3> discounts{};
  };

  template <typename F>
  void each_position(const NgramText& text, F&& f) const;
  void count(std::span<const uint64_t> keys, bool at_start);
  void find_discounts();
  void sum_contexts(std::span<const uint64_t> keys, std::span<const uint64_t> contexts);
  double probability(std::span<const uint64_t> keys, std::span<const uint64_t> contexts) const;

  int vocab_, order_;
  std::vector<Order> orders_;  // [n - 1]
};

}  // namespace minke

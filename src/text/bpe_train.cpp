#include "text/bpe_train.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <queue>
#include <unordered_map>

#include "base/error.h"
#include "text/hash.h"
#include "text/vocabulary.h"

namespace minke {
namespace {

// All bytes, in the order of the characters they are written as.
std::array<unsigned char, 256> bytes_in_order() {
  std::array<unsigned char, 256> bytes;
  std::iota(bytes.begin(), bytes.end(), static_cast<unsigned char>(0));
  std::ranges::sort(bytes, {}, byte_level_character);
  return bytes;
}

using PairKey = uint64_t;  // left << 32 | right
PairKey key_of(Token left, Token right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

struct KeyHash {
  size_t operator()(PairKey key) const { return mix_bits(key); }
};

// The words as tokens, and all pairs of neighbours with their counts.
class Learning {
 public:
  Learning(const WordCounts& words, const BpeTraining& training) : training_(training) {
    std::array<Token, 256> id;
    for (const unsigned char byte : bytes_in_order())
      id[byte] = add_token(std::string(1, static_cast<char>(byte)));
    for (size_t i = 0; i < words.size(); ++i) {
      const std::string_view word = words.word(i);
      words_.push_back({tokens_.size(), static_cast<uint32_t>(word.size()), words.count(i)});
      for (const char c : word) tokens_.push_back(id[static_cast<unsigned char>(c)]);
    }
    for (size_t w = 0; w < words_.size(); ++w) {
      const Token* const t = tokens_.data() + words_[w].begin;
      for (uint32_t i = 0; i + 1 < words_[w].length; ++i) seen(t[i], t[i + 1], static_cast<uint32_t>(w));
    }
    for (uint32_t p = 0; p < pairs_.size(); ++p) queue_.push(candidate(p));
    fresh_.clear();
  }

  LearnedBpe run() {
    while (static_cast<int>(learned_.tokens.size()) < training_.vocab && !queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      Pair& pair = pairs_[best.pair];
      if (pair.count < training_.least) continue;
      if (pair.count != best.count) {  // it has become rarer since
        queue_.push(candidate(best.pair));
        continue;
      }
      merge(best.pair);
      if (training_.progress)
        training_.progress(static_cast<int64_t>(learned_.tokens.size()), training_.vocab);
    }
    return std::move(learned_);
  }

 private:
  struct Word {
    size_t begin;  // in tokens_
    uint32_t length;
    uint64_t count;
  };
  struct Pair {
    Token left, right;
    uint64_t count = 0;
    std::vector<uint32_t> words = {};  // where it was seen; perhaps no longer
  };
  struct Candidate {
    uint64_t count;
    PairKey key;
    uint32_t pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : key > other.key;
    }
  };

  Candidate candidate(uint32_t p) const {
    return {pairs_[p].count, key_of(pairs_[p].left, pairs_[p].right), p};
  }

  Token add_token(std::string bytes) {
    const auto [place, is_new] = ids_.emplace(bytes, static_cast<Token>(learned_.tokens.size()));
    if (is_new) learned_.tokens.push_back(std::move(bytes));
    return place->second;
  }

  void seen(Token left, Token right, uint32_t word) {
    const auto [place, is_new] = index_.emplace(key_of(left, right), static_cast<uint32_t>(pairs_.size()));
    if (is_new) pairs_.push_back({left, right});
    Pair& pair = pairs_[place->second];
    pair.count += words_[word].count;
    if (pair.words.empty() || pair.words.back() != word) pair.words.push_back(word);
    fresh_.push_back(place->second);
  }

  void gone(Token left, Token right, uint32_t word) {
    pairs_[index_.at(key_of(left, right))].count -= words_[word].count;
  }

  void merge(uint32_t p) {
    const Token left = pairs_[p].left, right = pairs_[p].right;
    std::string bytes =
        learned_.tokens[static_cast<size_t>(left)] + learned_.tokens[static_cast<size_t>(right)];
    const std::vector<uint32_t> words = std::move(pairs_[p].words);
    if (std::ranges::count(training_.reserved, bytes) > 0) {
      pairs_[p].count = 0;
      return;
    }
    const Token result = add_token(std::move(bytes));
    learned_.merges.emplace_back(left, right);
    for (const uint32_t word : words) merge_in(word, left, right, result);
    pairs_[p].count = 0;
    std::ranges::sort(fresh_);
    const auto repeated = std::ranges::unique(fresh_);
    fresh_.erase(repeated.begin(), repeated.end());
    for (const uint32_t pair : fresh_) queue_.push(candidate(pair));
    fresh_.clear();
  }

  void merge_in(uint32_t w, Token left, Token right, Token result) {
    Word& word = words_[w];
    Token* const t = tokens_.data() + word.begin;
    uint32_t n = 0;  // tokens kept
    for (uint32_t i = 0; i < word.length; ++i) {
      if (i + 1 == word.length || t[i] != left || t[i + 1] != right) {
        t[n++] = t[i];
        continue;
      }
      if (n > 0) {
        gone(t[n - 1], left, w);
        seen(t[n - 1], result, w);
      }
      if (i + 2 < word.length) {
        gone(right, t[i + 2], w);
        seen(result, t[i + 2], w);
      }
      t[n++] = result;
      ++i;
    }
    word.length = n;
  }

  const BpeTraining& training_;
  LearnedBpe learned_;
  std::unordered_map<std::string, Token> ids_;  // of learned_.tokens
  std::vector<Token> tokens_;                   // of all words
  std::vector<Word> words_;
  std::vector<Pair> pairs_;
  std::unordered_map<PairKey, uint32_t, KeyHash> index_;  // in pairs_
  std::priority_queue<Candidate> queue_;                  // counts may be too high, never too low
  std::vector<uint32_t> fresh_;                           // pairs that were seen since
};

}  // namespace

void WordCounts::add(std::string_view word, uint64_t times) {
  if (2 * (words_.size() + 1) > slots_.size()) grow();
  total_ += times;
  const auto hash = static_cast<uint32_t>(hash_bytes(word));
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  for (; slots_[at] != 0; at = (at + 1) & mask) {
    Word& there = words_[slots_[at] - 1];
    if (there.hash != hash || this->word(slots_[at] - 1) != word) continue;
    there.count += times;
    return;
  }
  words_.push_back({bytes_.size(), times, static_cast<uint32_t>(word.size()), hash});
  bytes_.append(word);
  slots_[at] = static_cast<uint32_t>(words_.size());
}

void WordCounts::add(const WordCounts& other) {
  for (size_t i = 0; i < other.size(); ++i) add(other.word(i), other.count(i));
}

void WordCounts::grow() {
  MINKE_CHECK(words_.size() < UINT32_MAX / 4);
  slots_.assign(std::max<size_t>(1024, 2 * slots_.size()), 0);
  const size_t mask = slots_.size() - 1;
  for (size_t i = 0; i < words_.size(); ++i) {
    size_t at = words_[i].hash & mask;
    while (slots_[at] != 0) at = (at + 1) & mask;
    slots_[at] = static_cast<uint32_t>(i + 1);
  }
}

LearnedBpe learn_bpe(const WordCounts& words, const BpeTraining& training) {
  MINKE_CHECK(training.vocab >= 256);
  return Learning(words, training).run();
}

}  // namespace minke

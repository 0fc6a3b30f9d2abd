#pragma once
// Learning the merges of a byte-level BPE from the words of a text and their counts (Sennrich et al. 2016).

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/token.h"

namespace minke {

// Words, each with how often it was seen.
class WordCounts {
 public:
  void add(std::string_view word, uint64_t times = 1);
  void add(const WordCounts& other);

  size_t size() const { return words_.size(); }
  uint64_t total() const { return total_; }  // of all counts
  std::string_view word(size_t i) const { return {bytes_.data() + words_[i].begin, words_[i].length}; }
  uint64_t count(size_t i) const { return words_[i].count; }

 private:
  struct Word {
    uint64_t begin = 0, count = 0;  // in bytes_
    uint32_t length = 0, hash = 0;
  };
  void grow();

  std::string bytes_;            // of all words, one after another
  std::vector<Word> words_;      // in the order they were first seen
  std::vector<uint32_t> slots_;  // a power of two, open addressing: index + 1
  uint64_t total_ = 0;
};

struct BpeTraining {
  int vocab = 0;                           // tokens in all, the 256 bytes among them
  uint64_t least = 2;                      // a pair seen less often is not merged
  std::vector<std::string> reserved = {};  // texts no token may have: those of added tokens
  std::function<void(int64_t tokens, int64_t all)> progress = {};
};

struct LearnedBpe {
  std::vector<std::string> tokens;              // [id] its bytes; the first 256 are single bytes
  std::vector<std::pair<Token, Token>> merges;  // in the order of their rank
};

// Again and again the pair of neighbouring tokens that is seen most often is merged; of pairs seen equally
// often the one with the smaller left id, then the smaller right id. Ids of bytes are in the order of the
// characters files write them as (vocabulary.h), those of merges in the order they are made; a merge that
// makes the bytes of a token that is there takes that token. So the result follows from the counts alone; it
// is also what the `tokenizers` library learns. Fewer tokens come back where no pair is left.
LearnedBpe learn_bpe(const WordCounts& words, const BpeTraining& training);

}  // namespace minke

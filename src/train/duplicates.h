#pragma once
// Documents that were there before: word for word, or nearly so.

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/hash128.h"

namespace minke {

// Of the text with every run of white space as one space, and none at its ends.
Hash128 text_hash(std::string_view text);

// MinHash (Broder 1997) of the text's shingles, which are five words in a row: of 128 hash functions the
// smallest values, as far as they are needed to find and to compare.
struct TextSketch {
  static constexpr int kHashes = 128, kBands = 16, kRows = kHashes / kBands;
  std::array<uint64_t, kBands> bands;     // a hash of kRows values each
  std::array<uint8_t, kHashes> low_bits;  // of each value (b-bit minwise hashing; Li and König 2010)
};

// Words are runs of ASCII letters and digits, without their case, and of other characters below U+2E80; those
// from there on (Chinese, Japanese, Korean) are a word each. A text of fewer than five words is one shingle.
TextSketch sketch(std::string_view text);
// How much of all their shingles two texts share, estimated: off by 0.04 or so.
double similarity(const TextSketch& a, const TextSketch& b);

// Finds for each text one of those before that is as similar as `least`, if they share a band: of texts that
// share 0.8 of their shingles 95 % do, of those that share 0.7 six in ten. About 600 bytes for each text that
// is kept.
class NearDuplicates {
 public:
  explicit NearDuplicates(double least) : least_(least) {}

  // True: nothing like it was there, and it is kept.
  bool add(const TextSketch& text);

 private:
  struct Entry {
    uint64_t band;
    uint32_t text, next;  // next: of the same slot, index + 1
  };
  void grow();

  double least_;
  std::vector<std::array<uint8_t, TextSketch::kHashes>> texts_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // a power of two: index + 1 of the newest entry
};

}  // namespace minke

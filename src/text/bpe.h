#pragma once
// Byte-pair encoding of the pieces a pre-tokeniser makes (Sennrich et al. 2016, over bytes).

#include <array>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "text/vocabulary.h"

namespace minke {

// Two pieces as a file writes them; what they make is the two joined.
using MergeRule = std::pair<std::string_view, std::string_view>;

struct BpeOptions {
  bool ignore_merges = false;  // a piece that is in the vocabulary is taken whole
  // For bytes the vocabulary lacks. Without it they are left out, as the references do, and also where it is
  // an added token, which no text may give.
  std::optional<Token> unk = {};
  bool fuse_unk = false;  // one unk for a run of them
};

// Immutable; any thread may use it.
class Bpe {
 public:
  // Merges in the order of their rank; of equal ones the last counts. Throws Error naming the merge at fault.
  // A merge that would make an added token is dropped: those come from matching alone, never from what a user
  // types.
  Bpe(Vocabulary vocabulary, const std::vector<MergeRule>& merges, const BpeOptions& options);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  bool knows_byte(unsigned char byte) const { return byte_tokens_[byte] >= 0; }

  // What pieces were cut into lately. One for each caller; worth its making from a few thousand bytes on.
  class Memory {
   public:
    explicit Memory(size_t text_bytes);

   private:
    friend class Bpe;
    static constexpr size_t kMaxBytes = 16, kMaxTokens = 3;
    struct Slot {
      std::array<uint64_t, 2> bytes;
      uint16_t length = 0, count = 0;
      std::array<Token, kMaxTokens> tokens;
    };
    std::vector<Slot> slots_;  // a power of two, or none
  };

  // Appends the tokens of one piece. Time is n log n in its bytes.
  void encode(std::string_view piece, std::vector<Token>& out, Memory& memory) const;

 private:
  struct Merge {
    Token left = -1, right = -1;
    uint32_t rank = 0;
    Token result = -1;
  };

  void add_merges(const std::vector<MergeRule>& merges);
  Merge understand(const std::vector<MergeRule>& merges, size_t rank, const Vocabulary::Written& left,
                   const Vocabulary::Written& right, Token guess) const;
  // Whether its result is what left and right make, as far as that is told without a search.
  bool makes(const Merge& merge) const;
  void insert(const Merge& merge);                   // unless its left piece is -1
  const Merge* find(Token left, Token right) const;  // null where the two do not merge
  void encode_now(std::string_view piece, std::vector<Token>& out) const;
  // The letters that merging starts from. At most piece.size().
  void append_letters(std::string_view piece, std::vector<Token>& out) const;
  void merge_few(std::vector<Token>& tokens, size_t first) const;
  void merge_many(std::vector<Token>& tokens, size_t first) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  std::array<Token, 256> byte_tokens_;  // -1 where there is none
  std::vector<Merge> merges_;           // a power of two, open addressing
};

}  // namespace minke

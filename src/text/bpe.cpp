#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "text/hash.h"
#include "text/utf8.h"

namespace minke {
namespace {

// Up to here looking through all pairs for the next merge is faster than keeping them in a heap.
constexpr size_t kFew = 48;
constexpr uint32_t kNoRank = 0xFFFFFFFF;

size_t hash_pair(Token left, Token right) {
  return mix_bits(static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right));
}

}  // namespace

Bpe::Bpe(Vocabulary vocabulary, const std::vector<MergeRule>& merges, const BpeOptions& options)
    : vocabulary_(std::move(vocabulary)),
      options_(options),
      merges_(std::bit_ceil(merges.size() * 3 / 2 + 16)) {
  for (size_t b = 0; b < byte_tokens_.size(); ++b) {
    const char byte = static_cast<char>(b);
    auto token = vocabulary_.find_ordinary({&byte, 1});
    if (!token && b < 0x80)
      token = vocabulary_.find_other({&byte, 1});  // a letter stays one as an added token
    byte_tokens_[b] = token.value_or(-1);
  }

  if (options_.unk && vocabulary_.is_added(*options_.unk)) options_.unk.reset();
  add_merges(merges);
}

// Each merge takes three steps, some way apart: its pieces are announced, it is understood, it is inserted.
void Bpe::add_merges(const std::vector<MergeRule>& merges) {
  constexpr size_t kAhead = 16;
  std::array<std::array<Vocabulary::Written, 2>, kAhead> announced;
  std::array<Merge, kAhead> understood;
  Token next = 0;  // most vocabularies list what merges make in the order of the merges
  for (size_t i = 0; i < merges.size() + 2 * kAhead; ++i) {
    if (i >= 2 * kAhead) insert(understood[i % kAhead]);
    if (i >= kAhead && i < merges.size() + kAhead) {
      const auto& [left, right] = announced[i % kAhead];
      Merge& merge = understood[i % kAhead] = understand(merges, i - kAhead, left, right, next);
      next = merge.result + 1;
      if (vocabulary_.is_added(merge.result)) merge.left = -1;
      __builtin_prefetch(&merges_[hash_pair(merge.left, merge.right) & (merges_.size() - 1)], 1);
    }
    if (i < merges.size()) {
      vocabulary_.announce(merges[i].first, announced[i % kAhead][0]);
      vocabulary_.announce(merges[i].second, announced[i % kAhead][1]);
    }
  }
}

Bpe::Merge Bpe::understand(const std::vector<MergeRule>& merges, size_t rank, const Vocabulary::Written& left,
                           const Vocabulary::Written& right, Token guess) const {
  const auto& [left_text, right_text] = merges[rank];
  const auto find = [&](std::string_view text, const Vocabulary::Written& written) {
    if (const auto token = vocabulary_.find(text, written)) return *token;
    throw Error(fmt::format("merge {} ('{}' and '{}') needs the piece '{}', which the vocabulary lacks", rank,
                            excerpt(left_text), excerpt(right_text), excerpt(text)));
  };
  Merge merge{find(left_text, left), find(right_text, right), static_cast<uint32_t>(rank), guess};
  if (makes(merge)) return merge;
  const std::string joined = std::string(left_text).append(right_text);
  Vocabulary::Written written;
  vocabulary_.announce(joined, written);
  merge.result = find(joined, written);
  return merge;
}

bool Bpe::makes(const Merge& merge) const {
  if (merge.result >= vocabulary_.size()) return false;
  for (const Token token : {merge.left, merge.right, merge.result})
    if (vocabulary_.kind(token) != TokenKind::ordinary) return false;
  const std::string_view left = vocabulary_.bytes(merge.left), right = vocabulary_.bytes(merge.right);
  const std::string_view result = vocabulary_.bytes(merge.result);
  return result.size() == left.size() + right.size() && result.starts_with(left) && result.ends_with(right);
}

void Bpe::insert(const Merge& merge) {
  if (merge.left < 0) return;
  size_t i = hash_pair(merge.left, merge.right);
  while (true) {
    Merge& slot = merges_[i++ & (merges_.size() - 1)];
    if (slot.left >= 0 && (slot.left != merge.left || slot.right != merge.right)) continue;
    slot = merge;
    return;
  }
}

const Bpe::Merge* Bpe::find(Token left, Token right) const {
  for (size_t i = hash_pair(left, right);; ++i) {
    const Merge& slot = merges_[i & (merges_.size() - 1)];
    if (slot.left == left && slot.right == right) return &slot;
    if (slot.left < 0) return nullptr;
  }
}

Bpe::Memory::Memory(size_t text_bytes) {
  constexpr size_t kWorthIt = 2048, kMost = 8192;
  if (text_bytes >= kWorthIt) slots_.resize(std::min(std::bit_floor(text_bytes / 4), kMost));
}

void Bpe::encode(std::string_view piece, std::vector<Token>& out, Memory& memory) const {
  const size_t n = piece.size();
  if (n == 1) return append_letters(piece, out);
  if (memory.slots_.empty() || n > Memory::kMaxBytes) return encode_now(piece, out);
  // The two loads overlap from 9 to 15 bytes: with the length they still tell every piece.
  const std::array<uint64_t, 2> bytes{load_bytes(piece.data(), n),
                                      n > 8 ? load_bytes(piece.data() + n - 8, 8) : 0};
  const uint64_t hash = mix_bits(bytes[0] ^ mix_bits(bytes[1] ^ n));
  Memory::Slot& slot = memory.slots_[hash & (memory.slots_.size() - 1)];
  if (slot.length == n && slot.bytes == bytes) {
    out.insert(out.end(), slot.tokens.begin(), slot.tokens.begin() + slot.count);
    return;
  }
  const size_t first = out.size();
  encode_now(piece, out);
  const size_t count = out.size() - first;
  if (count > Memory::kMaxTokens) return;
  slot.bytes = bytes;
  slot.length = static_cast<uint16_t>(n);
  slot.count = static_cast<uint16_t>(count);
  std::copy(out.end() - static_cast<std::ptrdiff_t>(count), out.end(), slot.tokens.begin());
}

void Bpe::encode_now(std::string_view piece, std::vector<Token>& out) const {
  if (options_.ignore_merges) {
    if (const auto whole = vocabulary_.find_ordinary(piece)) {
      out.push_back(*whole);
      return;
    }
  }
  const size_t first = out.size();
  append_letters(piece, out);
  if (out.size() - first <= kFew)
    merge_few(out, first);
  else
    merge_many(out, first);
}

void Bpe::append_letters(std::string_view piece, std::vector<Token>& out) const {
  bool after_unk = false;
  for (const char c : piece) {
    const Token token = byte_tokens_[static_cast<unsigned char>(c)];
    if (token >= 0)
      out.push_back(token);
    else if (options_.unk && !(after_unk && options_.fuse_unk))
      out.push_back(*options_.unk);
    after_unk = token < 0;
  }
}

void Bpe::merge_few(std::vector<Token>& tokens, size_t first) const {
  Token* const token = tokens.data() + first;
  size_t n = tokens.size() - first;
  // Of the pair (i, i + 1).
  std::array<uint32_t, kFew> rank;
  std::array<Token, kFew> result;
  const auto look_up = [&](size_t i) {
    const Merge* merge = find(token[i], token[i + 1]);
    rank[i] = merge ? merge->rank : kNoRank;
    result[i] = merge ? merge->result : -1;
  };
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (rank[i] < rank[best]) best = i;
    if (rank[best] == kNoRank) break;
    token[best] = result[best];
    --n;
    for (size_t i = best + 1; i < n; ++i) {
      token[i] = token[i + 1];
      rank[i - 1] = rank[i];
      result[i - 1] = result[i];
    }
    if (best + 1 < n) look_up(best);
    if (best > 0) look_up(best - 1);
  }
  tokens.resize(first + n);
}

void Bpe::merge_many(std::vector<Token>& tokens, size_t first) const {
  struct Symbol {
    Token token;          // -1: merged into the one before
    uint32_t prev, next;  // its neighbours; kNoRank at the ends
  };
  const auto n = static_cast<uint32_t>(tokens.size() - first);
  std::vector<Symbol> symbols(n);
  for (uint32_t i = 0; i < n; ++i)
    symbols[i] = {tokens[first + i], i == 0 ? kNoRank : i - 1, i + 1 == n ? kNoRank : i + 1};

  // A pair that merges, as its rank and then the place of its left symbol: the smallest comes first.
  const auto candidate = [&](uint32_t at, auto&& take) {
    if (at == kNoRank || symbols[at].next == kNoRank) return;
    const Merge* merge = find(symbols[at].token, symbols[symbols[at].next].token);
    if (merge) take(static_cast<uint64_t>(merge->rank) << 32 | at);
  };
  std::vector<uint64_t> initial;
  for (uint32_t i = 0; i < n; ++i) candidate(i, [&](uint64_t c) { initial.push_back(c); });
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue({}, std::move(initial));
  while (!queue.empty()) {
    const auto rank = static_cast<uint32_t>(queue.top() >> 32), at = static_cast<uint32_t>(queue.top());
    queue.pop();
    Symbol& left = symbols[at];
    if (left.token < 0 || left.next == kNoRank) continue;
    Symbol& right = symbols[left.next];
    const Merge* merge = find(left.token, right.token);
    if (!merge || merge->rank != rank) continue;  // an earlier merge took one of the two
    left.token = merge->result;
    right.token = -1;
    left.next = right.next;
    if (left.next != kNoRank) symbols[left.next].prev = at;
    const auto push = [&](uint64_t c) { queue.push(c); };
    candidate(at, push);
    candidate(left.prev, push);
  }
  tokens.resize(first);
  for (uint32_t i = 0; i != kNoRank; i = symbols[i].next) tokens.push_back(symbols[i].token);
}

}  // namespace minke

#include "train/duplicates.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "text/hash.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr int kShingle = 5;
constexpr char32_t kIdeographs = 0x2E80;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The functions x -> mix(x * factor + offset), the same in every program.
struct Functions {
  Functions() {
    Random random(0x6d696e68617368);  // "minhash"
    for (int i = 0; i < TextSketch::kHashes; ++i) {
      factor[static_cast<size_t>(i)] = random.bits() | 1;
      offset[static_cast<size_t>(i)] = random.bits();
    }
  }
  std::array<uint32_t, TextSketch::kHashes> factor, offset;
};

// f(hash) for each word.
template <typename F>
void each_word(std::string_view text, F&& f) {
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) f(hash_bytes(word));
    word.clear();
  };
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const char* const begin = p;
    const char32_t c = decode_utf8(p);
    if (c >= 0x80) {
      if (c >= kIdeographs) end_word();
      word.append(begin, p);
      if (c >= kIdeographs) end_word();
    } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      word += static_cast<char>(c);
    } else if (c >= 'A' && c <= 'Z') {
      word += static_cast<char>(c + ('a' - 'A'));
    } else {
      end_word();
    }
  }
  end_word();
}

}  // namespace

Hash128 text_hash(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  bool space = false;
  for (const char c : text) {
    if (is_space(c)) {
      space = true;
      continue;
    }
    if (space && !plain.empty()) plain += ' ';
    space = false;
    plain += c;
  }
  return hash128(plain);
}

TextSketch sketch(std::string_view text) {
  static const Functions functions;
  std::array<uint32_t, TextSketch::kHashes> least;
  least.fill(UINT32_MAX);
  const auto add = [&](uint64_t shingle) {
    const auto x = static_cast<uint32_t>(mix_bits(shingle));
    for (size_t i = 0; i < least.size(); ++i) {
      uint32_t y = x * functions.factor[i] + functions.offset[i];
      y = (y ^ y >> 16) * 0x85EBCA6B;
      least[i] = std::min(least[i], y ^ y >> 13);
    }
  };
  std::array<uint64_t, kShingle> words{};
  size_t n = 0;
  const auto together = [&](size_t count) {  // the last `count` words, the oldest first
    uint64_t h = 0;
    for (size_t i = n - count; i < n; ++i) h = mix_bits(h * 0x9E3779B97F4A7C15 + words[i % kShingle]);
    return h;
  };
  each_word(text, [&](uint64_t word) {
    words[n++ % kShingle] = word;
    if (n >= kShingle) add(together(kShingle));
  });
  if (n < kShingle) add(together(n));

  TextSketch result;
  for (size_t b = 0; b < result.bands.size(); ++b) {
    result.bands[b] = b;
    for (size_t r = 0; r < TextSketch::kRows; ++r)
      result.bands[b] = mix_bits(result.bands[b] * 0x9E3779B97F4A7C15 + least[b * TextSketch::kRows + r]);
  }
  for (size_t i = 0; i < least.size(); ++i) result.low_bits[i] = static_cast<uint8_t>(least[i]);
  return result;
}

double similarity(const TextSketch& a, const TextSketch& b) {
  int same = 0;
  for (size_t i = 0; i < a.low_bits.size(); ++i) same += a.low_bits[i] == b.low_bits[i];
  constexpr double kByChance = 1.0 / 256;  // that eight bits agree
  const double share = same / static_cast<double>(TextSketch::kHashes);
  return std::max(0.0, (share - kByChance) / (1 - kByChance));
}

bool NearDuplicates::add(const TextSketch& text) {
  if (entries_.size() + TextSketch::kBands > slots_.size()) grow();
  const size_t mask = slots_.size() - 1;
  TextSketch other;
  for (const uint64_t band : text.bands)
    for (uint32_t at = slots_[band & mask]; at != 0; at = entries_[at - 1].next) {
      const Entry& entry = entries_[at - 1];
      if (entry.band != band) continue;
      other.low_bits = texts_[entry.text];
      if (similarity(text, other) >= least_) return false;
    }
  const auto index = static_cast<uint32_t>(texts_.size());
  texts_.push_back(text.low_bits);
  for (const uint64_t band : text.bands) {
    entries_.push_back({band, index, slots_[band & mask]});
    slots_[band & mask] = static_cast<uint32_t>(entries_.size());
  }
  return true;
}

void NearDuplicates::grow() {
  MINKE_CHECK(entries_.size() < UINT32_MAX / 4);
  slots_.assign(std::max<size_t>(1024, 2 * slots_.size()), 0);
  const size_t mask = slots_.size() - 1;
  for (size_t i = 0; i < entries_.size(); ++i) {
    uint32_t& slot = slots_[entries_[i].band & mask];
    entries_[i].next = slot;
    slot = static_cast<uint32_t>(i + 1);
  }
}

}  // namespace minke

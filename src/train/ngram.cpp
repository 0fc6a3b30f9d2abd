#include "train/ngram.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/hash.h"

namespace minke {
namespace {

// Keys of the n-grams that end with a token, from the keys of those that end one before: [n - 1], shortest
// first.
uint64_t longer(uint64_t key, Token before) {
  return mix_bits(key * 0x9E3779B97F4A7C15 + static_cast<uint64_t>(before) + 1) | 1;  // never 0
}

// keys[n - 1] of the last n of `tokens`, for n up to their number.
void find_keys(std::span<const Token> tokens, std::vector<uint64_t>& keys) {
  keys.clear();
  uint64_t key = 0;
  for (size_t n = 1; n <= tokens.size(); ++n) keys.push_back(key = longer(key, tokens[tokens.size() - n]));
}

void append(const TokenRow& row, NgramText& text) {
  text.tokens.insert(text.tokens.end(), row.tokens.begin(), row.tokens.end());
  text.learned.insert(text.learned.end(), row.loss.begin(), row.loss.end());
  const size_t begin = text.starts.size();
  text.starts.resize(text.tokens.size(), 0);
  for (const int32_t start : row.starts) text.starts[begin + static_cast<size_t>(start)] = 1;
  text.learned[begin] = 0;
}

}  // namespace

NgramText all_tokens(const TokenShards& shards) {
  if (shards.tokens() > INT32_MAX)
    throw Error(fmt::format("{} tokens are too many to count n-grams of at once", shards.tokens()));
  TokenRow row;
  shards.read(0, static_cast<int>(shards.tokens()), 0, row);
  NgramText text;
  append(row, text);
  return text;
}

NgramText seen_tokens(const TokenShards& shards, int length, uint64_t seed, int64_t seen) {
  const int64_t rows = shards.rows(length);
  if (seen >= rows) return all_tokens(shards);
  const RowOrder order(rows, seed);
  std::vector<int64_t> taken;
  for (int64_t i = 0; i < seen; ++i) taken.push_back(order.row(i));
  std::ranges::sort(taken);
  NgramText text;
  TokenRow row;
  for (size_t i = 0; i < taken.size(); ++i) {
    const bool follows = i > 0 && taken[i] == taken[i - 1] + 1;
    shards.read(taken[i], length, 1, row);
    if (!follows) {
      append(row, text);
      continue;
    }
    // Its first token is there already, as the target of the row before.
    const bool begins = text.starts.back() != 0;
    const uint8_t learned = text.learned.back();
    text.tokens.pop_back();
    text.starts.pop_back();
    text.learned.pop_back();
    const size_t at = text.tokens.size();
    append(row, text);
    text.starts[at] = begins;
    text.learned[at] = learned;
  }
  return text;
}

template <typename T>
T& KneserNey::Table<T>::at(uint64_t key) {
  if (4 * (size_ + 1) > 3 * slots_.size()) grow();
  size_t i = key >> 1 & (slots_.size() - 1);
  while (slots_[i].key != 0 && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
  if (slots_[i].key == 0) {
    slots_[i].key = key;
    ++size_;
  }
  return slots_[i];
}

template <typename T>
const T* KneserNey::Table<T>::find(uint64_t key) const {
  if (slots_.empty()) return nullptr;
  size_t i = key >> 1 & (slots_.size() - 1);
  while (slots_[i].key != 0 && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
  return slots_[i].key == 0 ? nullptr : &slots_[i];
}

template <typename T>
void KneserNey::Table<T>::grow() {
  const std::vector<T> old = std::move(slots_);
  slots_.assign(std::max<size_t>(1024, 2 * old.size()), T{});
  for (const T& entry : old) {
    if (entry.key == 0) continue;
    size_t i = entry.key >> 1 & (slots_.size() - 1);
    while (slots_[i].key != 0) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = entry;
  }
}

KneserNey::KneserNey(const NgramText& text, int vocab, int order)
    : vocab_(vocab), order_(order), orders_(static_cast<size_t>(order)) {
  MINKE_CHECK(order >= 1 && vocab >= 1);
  each_position(text, [&](auto keys, auto, bool at_start, size_t) { count(keys, at_start); });
  find_discounts();
  each_position(text, [&](auto keys, auto contexts, bool, size_t) { sum_contexts(keys, contexts); });
}

// f(keys of the n-grams that end here, keys of their contexts, whether the longest begins a document,
// position) for every token that is learned. keys[0] is the token alone, whose context is empty: contexts[0]
// belongs to keys[1].
template <typename F>
void KneserNey::each_position(const NgramText& text, F&& f) const {
  std::vector<uint64_t> keys, contexts;
  size_t start = 0;
  for (size_t i = 0; i < text.tokens.size(); ++i) {
    if (text.starts[i]) start = i;
    if (!text.learned[i] || i == start) continue;
    const size_t n = std::min(i - start + 1, static_cast<size_t>(order_));
    const std::span<const Token> window(text.tokens.data() + i + 1 - n, n);
    find_keys(window, keys);
    find_keys(window.first(n - 1), contexts);
    f(std::span<const uint64_t>(keys), std::span<const uint64_t>(contexts), i + 1 - n == start, i);
  }
}

// An n-gram's count goes up where the one with a token more before it is new.
void KneserNey::count(std::span<const uint64_t> keys, bool at_start) {
  bool is_new = false;
  for (size_t n = keys.size(); n >= 1; --n) {
    Gram& gram = orders_[n - 1].grams.at(keys[n - 1]);
    const bool all = static_cast<int>(n) == order_ || (at_start && n == keys.size() && n > 1);
    const bool first = gram.count == 0;
    if (all || is_new) ++gram.count;
    is_new = first;
  }
}

void KneserNey::find_discounts() {
  for (Order& order : orders_) {
    std::array<double, 5> n{};  // of n-grams seen once, twice, ...
    for (const Gram& gram : order.grams.slots())
      if (gram.count >= 1 && gram.count <= 4) ++n[gram.count];
    const double y = n[1] / (n[1] + 2 * n[2]);
    bool good = n[1] > 0 && n[2] > 0 && n[3] > 0;
    for (size_t i = 1; i <= 3 && good; ++i) {
      const auto c = static_cast<double>(i);
      order.discounts[i - 1] = c - (c + 1) * y * n[i + 1] / n[i];
      good = order.discounts[i - 1] > 0 && order.discounts[i - 1] <= c;
    }
    if (!good) order.discounts = {0.5, 1, 1.5};
  }
}

void KneserNey::sum_contexts(std::span<const uint64_t> keys, std::span<const uint64_t> contexts) {
  for (size_t n = 1; n <= keys.size(); ++n) {
    Gram& gram = orders_[n - 1].grams.at(keys[n - 1]);
    if (gram.counted || gram.count == 0) continue;
    gram.counted = 1;
    Context& context = orders_[n - 1].contexts.at(n == 1 ? 1 : contexts[n - 2]);
    context.total += gram.count;
    ++context.kinds[std::min(gram.count, 3u) - 1];
  }
}

double KneserNey::probability(std::span<const uint64_t> keys, std::span<const uint64_t> contexts) const {
  double p = 1.0 / vocab_;
  for (size_t n = 1; n <= keys.size(); ++n) {
    const Order& order = orders_[n - 1];
    const Context* context = order.contexts.find(n == 1 ? 1 : contexts[n - 2]);
    if (!context) break;  // then no longer one was seen either
    double left = 0;
    for (size_t k = 0; k < 3; ++k) left += order.discounts[k] * context->kinds[k];
    const Gram* gram = order.grams.find(keys[n - 1]);
    const double count = gram ? gram->count : 0;
    const double discount =
        count > 0 ? order.discounts[std::min<size_t>(static_cast<size_t>(count), 3) - 1] : 0;
    p = (std::max(count - discount, 0.0) + left * p) / static_cast<double>(context->total);
  }
  return p;
}

double KneserNey::log_probability(std::span<const Token> context, Token token) const {
  const size_t n = std::min(context.size(), static_cast<size_t>(order_ - 1));
  std::vector<Token> window(context.end() - static_cast<std::ptrdiff_t>(n), context.end());
  std::vector<uint64_t> keys, contexts;
  find_keys(window, contexts);
  window.push_back(token);
  find_keys(window, keys);
  return std::log(probability(keys, contexts));
}

KneserNey::Score KneserNey::score(const NgramText& text) const {
  Score score;
  double sum = 0;
  each_position(text, [&](auto keys, auto contexts, bool, size_t) {
    sum -= std::log(probability(keys, contexts));
    ++score.tokens;
  });
  score.nll = score.tokens > 0 ? sum / static_cast<double>(score.tokens) : 0;
  return score;
}

}  // namespace minke

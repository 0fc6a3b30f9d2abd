#include "engine/divergence.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "engine/windows.h"

namespace minke {
namespace {

// What is kept of one predicted token.
struct Compared {
  double divergence = 0, nll_a = 0, nll_b = 0;
  bool same_top = false;
};

Compared compare(std::span<const float> a, std::span<const float> b, Token next) {
  const auto top = [](std::span<const float> l) { return std::max_element(l.begin(), l.end()) - l.begin(); };
  return {divergence(a, b), negative_log_likelihood(a, next), negative_log_likelihood(b, next),
          top(a) == top(b)};
}

// The smallest number that `share` of all do not exceed. Puts them into another order.
double quantile(std::vector<double>& numbers, double share) {
  const double place = std::ceil(share * static_cast<double>(numbers.size())) - 1;
  const auto at = numbers.begin() + static_cast<int64_t>(std::max(place, 0.0));
  std::nth_element(numbers.begin(), at, numbers.end());
  return *at;
}

}  // namespace

double divergence(std::span<const float> a, std::span<const float> b) {
  MINKE_CHECK(a.size() == b.size() && !a.empty());
  const float peak_a = *std::max_element(a.begin(), a.end()), peak_b = *std::max_element(b.begin(), b.end());
  double total_a = 0, total_b = 0, apart = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const float p = std::exp(a[i] - peak_a);
    total_a += p;
    total_b += std::exp(b[i] - peak_b);
    apart += p * (double{a[i]} - b[i]);
  }
  const double normalisers = (std::log(total_a) + peak_a) - (std::log(total_b) + peak_b);
  const double kl = apart / total_a - normalisers;
  return kl < 0 ? 0 : kl;  // by rounding only; what is not a number stays so
}

Divergence divergence(Instance& a, Instance& b, std::span<const Token> tokens, int window, Token start,
                      const std::function<void(int64_t, int64_t)>& progress) {
  MINKE_CHECK(window >= 2 && a.config().vocab == b.config().vocab);
  const auto vocab = static_cast<size_t>(a.config().vocab);
  const int given = start >= 0 ? 2 : 1;  // tokens of a window that are not predicted
  Instance* const both[] = {&a, &b};
  std::vector<double> all;
  std::vector<Compared> rows;
  Mean mean, nll_a, nll_b, same;
  for_each_window(tokens, window, start, [&](std::span<const Token> piece, int64_t done) {
    const int n = static_cast<int>(piece.size());
    if (n <= given) return;
    rows.resize(piece.size());  // of each token, by its place
    run_window(both, piece, [&](int first, int count, std::span<const float* const> logits) {
      a.context().pool.for_each(count, 1, [&](int64_t i, int64_t, int) {
        const auto next = static_cast<size_t>(first + i + 1), from = static_cast<size_t>(i) * vocab;
        if (next < piece.size())
          rows[next] = compare({logits[0] + from, vocab}, {logits[1] + from, vocab}, piece[next]);
      });
    });
    for (int i = given; i < n; ++i) {
      const Compared& row = rows[static_cast<size_t>(i)];
      if (!std::isfinite(row.divergence + row.nll_a + row.nll_b))
        throw Error(fmt::format("a model gives no finite prediction of token {}", nll_a.count() + 1),
                    "the text", "one of the files is damaged, or was made wrongly");
      all.push_back(row.divergence);
      mean.add(row.divergence);
      nll_a.add(row.nll_a);
      nll_b.add(row.nll_b);
      same.add(row.same_top ? 1 : 0);
    }
    if (progress) progress(done, static_cast<int64_t>(tokens.size()));
  });
  if (all.empty()) throw Error("the text is shorter than two tokens");
  Divergence result;
  result.mean = mean.value(), result.error = mean.error();
  result.median = quantile(all, 0.5);
  result.p99 = quantile(all, 0.99);
  result.most = *std::ranges::max_element(all);
  result.same_top = same.value(), result.same_top_error = same.error();
  result.a = Perplexity(nll_a), result.b = Perplexity(nll_b);
  return result;
}

void check_same_vocabulary(const Model& a, const Tokenizer& of_a, const Model& b, const Tokenizer& of_b) {
  const auto differ = [&](const std::string& how) {
    throw Error("has another vocabulary than " + a.path.string() + ": " + how, b.path.string(),
                "only models of one vocabulary can be compared");
  };
  if (a.config.vocab != b.config.vocab)
    differ(fmt::format("{} tokens and not {}", b.config.vocab, a.config.vocab));
  // One file may list padding ids that another leaves out.
  const auto text = [](const Tokenizer& of, Token t) -> std::optional<std::string_view> {
    if (t >= of.size() || of.is_unused(t)) return std::nullopt;
    return of.bytes(t);
  };
  const auto shown = [](std::optional<std::string_view> t) { return t ? in_quotes(*t) : "unused"; };
  for (Token t = 0; t < std::max(of_a.size(), of_b.size()); ++t)
    if (text(of_a, t) != text(of_b, t))
      differ(fmt::format("token {} is {} and not {}", t, shown(text(of_b, t)), shown(text(of_a, t))));
}

}  // namespace minke

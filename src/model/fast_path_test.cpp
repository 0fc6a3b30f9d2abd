// The default mode (activations rounded to int8, a bf16 cache) and shorter caches against the reference mode
// (f32 throughout) over random shapes.
//
// Choices. A top-k of scores that are each wrong by at most e picks the same set wherever the reference's gap
// between the last one in and the first one out is above 2 e; for groups of experts, whose score is a sum of
// two, above 4 e. e is measured, per row and choice, as the largest difference between the two modes' scores.
// So a choice that differs within the bound is a mistake of the selection and no matter of rounding.
//
// Distributions. Rounding to int8 under one scale per 32 values puts an error of s / sqrt(12) on each, s
// being the largest of the 32 over 127: for normal values the largest is about 2.1 of them, hence 0.5% of a
// product's size. (The scale is one of eight steps, so up to a step of the block's largest above what the 32
// need; the factor of 2 below has room for it.) A layer has four such products one after the other (q/k/v, o,
// gate/up, down); errors of L layers and the head add up as independent ones do, to 0.5% sqrt(4 L + 1) of the
// logits' size. Rows see more where attention or gates amplify them: a factor of 2 is granted. Logits with an
// error of variance v give a KL of v / 2.
//
// Caches. int8 rounds the four numbers of an attention (key, query, value, weight) as activations are, but
// under one scale per 128 values: the largest of them is about 2.8, hence 0.6%. A number of e4m3 is off by at
// most 2^-4 of itself, 2.6% in the mean square; keys and values are.

#include <algorithm>
#include <map>

#include "model/random_config.h"
#include "model/test_models.h"

namespace minke {
namespace {

constexpr Format kFormats[] = {Format::q4_0,   Format::q4_1,   Format::q5_0,  Format::q5_1,    Format::q8_0,
                               Format::q2_k,   Format::q3_k,   Format::q4_k,  Format::q5_k,    Format::q6_k,
                               Format::iq4_nl, Format::iq4_xs, Format::mxfp4, Format::f8_e4m3, Format::bf16};

// What passed, per name and layer: rows of numbers.
class Kept : public Tap {
 public:
  std::map<std::pair<std::string, int>, std::vector<std::vector<float>>> numbers;
  std::map<std::pair<std::string, int>, std::vector<std::vector<int32_t>>> choices;

  void floats(std::string_view name, int layer, const Rows& rows) override {
    for (int r = 0; r < rows.count; ++r)
      numbers[{std::string(name), layer}].emplace_back(rows.data + r * rows.stride,
                                                       rows.data + r * rows.stride + rows.cols);
  }
  void integers(std::string_view name, int layer, const int32_t* data, int rows, int cols) override {
    for (int r = 0; r < rows; ++r)
      choices[{std::string(name), layer}].emplace_back(data + int64_t{r} * cols,
                                                       data + int64_t{r + 1} * cols);
  }
};

struct Mode {
  bool round_activations;
  KvFormat kv;
  double error;  // of a product's size
};
constexpr Mode kExact{false, KvFormat::f32, 0};

Kept pass(const Model& model, const std::vector<Token>& tokens, const Mode& mode) {
  InstanceOptions o;
  o.round_activations = mode.round_activations;
  o.limits.kv = mode.kv;
  o.limits.rows = o.limits.logit_rows = static_cast<int>(tokens.size());
  o.limits.context = 256;
  o.limits.threads = 2;
  o.limits.inspect = model.config.indexer.has_value();
  Instance instance(model, o);
  KvView view = reserved(instance, static_cast<int>(tokens.size()));
  const SequenceSlice slice{&view, 0, static_cast<int>(tokens.size()), 0, Want::all_logits};
  Kept kept;
  instance.forward({tokens, {&slice, 1}, {}}, &kept);
  return kept;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b, size_t n) {
  double most = 0;
  for (size_t i = 0; i < n; ++i) most = std::max(most, std::abs(double{a[i]} - b[i]));
  return most;
}

// Between the k-th largest and the next, of `scores`.
double gap_after(std::vector<float> scores, size_t k) {
  if (k >= scores.size()) return INFINITY;
  std::sort(scores.rbegin(), scores.rend());
  return double{scores[k - 1]} - scores[k];
}

// What experts are chosen by.
std::vector<float> choice_scores(const RouterConfig& r, const std::vector<float>& logits, const float* bias) {
  std::vector<float> scores;
  double total = 0;
  for (const float l : logits) total += std::exp(double{l});
  for (size_t i = 0; i < logits.size(); ++i) {
    const double s = r.score == RouterScore::softmax ? std::exp(double{logits[i]}) / total
                                                     : 1 / (1 + std::exp(-double{logits[i]}));
    scores.push_back(static_cast<float>(s + (bias ? bias[i] : 0)));
  }
  return scores;
}

// How large an error of the scores cannot change the choice.
double harmless_error(const RouterConfig& r, const std::vector<float>& scores) {
  const size_t groups = static_cast<size_t>(r.groups), size = scores.size() / groups;
  if (r.group_score == GroupScore::none || r.kept_groups == r.groups)
    return gap_after(scores, static_cast<size_t>(r.active)) / 2;
  std::vector<std::pair<float, size_t>> order;
  std::vector<float> sums;
  for (size_t g = 0; g < groups; ++g) {
    std::vector<float> in(scores.begin() + static_cast<int64_t>(g * size),
                          scores.begin() + static_cast<int64_t>((g + 1) * size));
    std::sort(in.rbegin(), in.rend());
    sums.push_back(in[0] + in[1]);
    order.emplace_back(-sums.back(), g);
  }
  std::sort(order.begin(), order.end());
  std::vector<float> kept;
  for (int k = 0; k < r.kept_groups; ++k) {
    const auto first = scores.begin() + static_cast<int64_t>(order[static_cast<size_t>(k)].second * size);
    kept.insert(kept.end(), first, first + static_cast<int64_t>(size));
  }
  return std::min(gap_after(sums, static_cast<size_t>(r.kept_groups)) / 4,
                  gap_after(kept, static_cast<size_t>(r.active)) / 2);
}

struct Tally {
  int64_t choices = 0, bound = 0, rows = 0;
  double kl = 0, allowed = 0;
};

double kl_of(const std::vector<float>& p, const std::vector<float>& q) {
  const auto log_mass = [](const std::vector<float>& l) {
    const double peak = *std::max_element(l.begin(), l.end());
    double total = 0;
    for (const float x : l) total += std::exp(x - peak);
    return peak + std::log(total);
  };
  const double p_mass = log_mass(p), q_mass = log_mass(q);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) kl += std::exp(p[i] - p_mass) * ((p[i] - p_mass) - (q[i] - q_mass));
  return kl;
}

// Compares every choice of a pass; returns the first row where one differs (or the number of rows).
size_t compare_choices(const Model& model, const Kept& exact, const Kept& fast, size_t rows, Tally& tally) {
  const Config& c = model.config;
  size_t first = rows;
  const auto count = [&](const char* what, int layer, size_t row, bool equal, double harmless, double error) {
    ++tally.choices;
    if (!equal) first = std::min(first, row);
    if (!(error < harmless)) return;
    ++tally.bound;
    EXPECT_TRUE(equal) << what << " of layer " << layer << ", row " << row << ": an error of " << error
                       << " where " << harmless << " are harmless";
  };
  for (int layer = 0; layer < c.layers; ++layer) {
    const std::pair<std::string, int> scores{"router_logits", layer}, experts{"router_topk", layer};
    for (size_t row = 0; exact.numbers.contains(scores) && row < rows; ++row) {
      const Mat& b = model.weights.layers[static_cast<size_t>(layer)].router_bias;
      const RouterConfig& r = c.moe->router;
      const std::vector<float> x = choice_scores(r, exact.numbers.at(scores)[row], b ? b.f32() : nullptr),
                               y = choice_scores(r, fast.numbers.at(scores)[row], b ? b.f32() : nullptr);
      count("experts", layer, row, exact.choices.at(experts)[row] == fast.choices.at(experts)[row],
            harmless_error(r, x), largest_difference(x, y, x.size()));
    }
    const std::pair<std::string, int> index{"indexer_scores", layer}, positions{"indexer_topk", layer};
    for (size_t row = 0; exact.numbers.contains(index) && row < rows; ++row) {
      const auto visible = static_cast<int64_t>(row + 1);
      if (visible <= c.indexer->topk) continue;
      const std::vector<float>&x = exact.numbers.at(index)[row], &y = fast.numbers.at(index)[row];
      count("positions", layer, row, exact.choices.at(positions)[row] == fast.choices.at(positions)[row],
            gap_after({x.begin(), x.begin() + visible}, static_cast<size_t>(c.indexer->topk)) / 2,
            largest_difference(x, y, row + 1));
    }
  }
  return first;
}

void compare(const Model& model, const std::vector<Token>& tokens, const Mode& mode, Tally& tally) {
  const Kept exact = pass(model, tokens, kExact), fast = pass(model, tokens, mode);
  const size_t rows = tokens.size();
  const size_t first = compare_choices(model, exact, fast, rows, tally);
  const auto &x = exact.numbers.at({"logits", -1}), &y = fast.numbers.at({"logits", -1});
  for (size_t row = 0; row < rows; ++row) {
    const auto best = [](const std::vector<float>& l) {
      return std::max_element(l.begin(), l.end()) - l.begin();
    };
    ++tally.choices;
    if (largest_difference(x[row], y[row], x[row].size()) < gap_after(x[row], 1) / 2) {
      ++tally.bound;
      EXPECT_EQ(best(x[row]), best(y[row]));
    }
    if (row >= first) continue;  // another expert's answer is no rounding error
    double mean = 0, square = 0;
    for (const float l : x[row]) {
      mean += l;
      square += double{l} * l;
    }
    const auto n = static_cast<double>(x[row].size());
    const double variance = square / n - mean / n * (mean / n);
    const double error = 2 * mode.error * std::sqrt(4.0 * model.config.layers + 1);
    ++tally.rows;
    tally.kl += kl_of(x[row], y[row]);
    tally.allowed += error * error * variance / 2;
  }
}

TEST(FastPath, ChoosesAndPredictsAsTheReference) {
  Random random(20);
  for (const char* arch : kArchitectureNames) {
    Tally tally;
    for (const Format format : kFormats) {
      for (int i = 0; i < 2; ++i) {
        const Config config = random_config(random, arch);
        const RandomModel model(config, random.bits(), format);
        compare(model.model(), random_tokens(random, config.vocab, 60), {true, KvFormat::bf16, 0.005}, tally);
      }
    }
    EXPECT_GT(tally.rows, 200) << arch;
    EXPECT_GT(tally.bound, tally.choices / 2) << arch;  // or it would say little
    EXPECT_LT(tally.kl, tally.allowed) << arch;
    RecordProperty(std::string(arch) + "_mean_kl",
                   std::to_string(tally.kl / static_cast<double>(tally.rows)));
    std::printf("%s: KL %.2e of %.2e allowed over %ld rows; %ld of %ld choices within the bound\n", arch,
                tally.kl / static_cast<double>(tally.rows), tally.allowed / static_cast<double>(tally.rows),
                static_cast<long>(tally.rows), static_cast<long>(tally.bound),
                static_cast<long>(tally.choices));
  }
}

TEST(FastPath, ShortCachesAreNearTheReference) {
  Random random(21);
  for (const Mode& mode : {Mode{false, KvFormat::int8, 0.006}, Mode{false, KvFormat::fp8, 0.026}}) {
    for (const char* arch : kArchitectureNames) {
      Tally tally;
      for (int i = 0; i < 8; ++i) {
        const Config config = random_config(random, arch);
        const RandomModel model(config, random.bits(), Format::f32);
        compare(model.model(), random_tokens(random, config.vocab, 60), mode, tally);
      }
      EXPECT_GT(tally.rows, 50) << arch << ' ' << name(mode.kv);
      EXPECT_LT(tally.kl, tally.allowed) << arch << ' ' << name(mode.kv);
      std::printf("%s over %s: KL %.2e of %.2e allowed over %ld rows\n", arch, name(mode.kv),
                  tally.kl / static_cast<double>(tally.rows), tally.allowed / static_cast<double>(tally.rows),
                  static_cast<long>(tally.rows));
    }
  }
}

}  // namespace
}  // namespace minke

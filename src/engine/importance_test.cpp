#include "engine/importance.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "model/quantize.h"
#include "model/random_config.h"
#include "model/test_gguf.h"
#include "model/test_models.h"

namespace minke {
namespace {

using Vector = std::vector<double>;
using Vectors = std::vector<Vector>;  // one for each row

// All that a pass shows.
class Recorder : public Tap {
 public:
  std::map<std::pair<const std::byte*, int>, Vectors> products;  // by matrix, and head where it is a stack
  std::map<std::pair<std::string, int>, Vectors> numbers;
  std::map<std::pair<std::string, int>, std::vector<std::vector<int32_t>>> choices;

  void floats(std::string_view name, int layer, const Rows& rows) override {
    append(numbers[{std::string(name), layer}], rows);
  }
  void integers(std::string_view name, int layer, const int32_t* data, int rows, int cols) override {
    for (int r = 0; r < rows; ++r)
      choices[{std::string(name), layer}].emplace_back(data + int64_t{r} * cols,
                                                       data + int64_t{r + 1} * cols);
  }
  void product(const Mat& w, int part, const Rows& rows) override { append(products[{w.data, part}], rows); }

  const Vectors& rows(const Mat& w, int part = 0) { return products[{w.data, part}]; }

 private:
  static void append(Vectors& to, const Rows& rows) {
    for (int r = 0; r < rows.count; ++r)
      to.emplace_back(rows.data + r * rows.stride, rows.data + r * rows.stride + rows.cols);
  }
};

InstanceOptions exact_options(const Config& config, int rows, int threads = 2) {
  InstanceOptions o;
  o.round_activations = false;
  o.limits.kv = KvFormat::f32;
  o.limits.rows = rows;
  o.limits.context = 256;
  o.limits.threads = threads;
  o.limits.inspect = config.indexer.has_value();
  o.limits.mtp = true;
  return o;
}

// The text from an empty context, and the MTP layer behind it.
Recorder record(const Model& model, std::span<const Token> tokens) {
  const int n = static_cast<int>(tokens.size());
  Instance instance(model, exact_options(model.config, n));
  KvView view = reserved(instance, n);
  Recorder tap;
  const SequenceSlice slice{&view, 0, n, 0, Want::all_hidden};
  instance.forward({tokens, {&slice, 1}, {}}, &tap);
  if (model.config.mtp_layers == 0 || n < 2) return tap;
  std::vector<GivenRow> given;
  for (int i = 0; i + 1 < n; ++i)
    given.push_back({i, instance.state().output + int64_t{i} * model.config.dim});
  const SequenceSlice after{&view, 0, n - 1, 0, Want::nothing};
  instance.forward_mtp({tokens.subspan(1), {&after, 1}, given}, &tap);
  return tap;
}

// ---- The layers by their formulas, each from what the pass showed to have gone into it.

Vector times(const Mat& w, const Vector& x, int first = 0, int count = -1) {
  Vector y;
  std::vector<float> row(static_cast<size_t>(w.cols));
  for (int r = first; r < first + (count < 0 ? w.rows : count); ++r) {
    dequantize_row(w, r, row.data());
    double sum = 0;
    for (size_t i = 0; i < row.size(); ++i) sum += row[i] * x[i];
    y.push_back(sum);
  }
  return y;
}

Vector plus(Vector a, const Vector& b, double scale = 1) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += scale * b[i];
  return a;
}

Vector normalised(const Vector& x, const Mat& by, double eps) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  Vector y = x;
  for (size_t i = 0; i < y.size(); ++i)
    y[i] *= by.f32()[i] / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  return y;
}

Vector gated(const Mat& gate, const Mat& up, const Vector& x) {
  Vector g = times(gate, x);
  const Vector u = times(up, x);
  for (size_t i = 0; i < g.size(); ++i) g[i] = g[i] / (1 + std::exp(-g[i])) * u[i];
  return g;
}

void expect_near(const Vectors& seen, const Vectors& wanted, const std::string& what) {
  ASSERT_EQ(seen.size(), wanted.size()) << what;
  for (size_t r = 0; r < seen.size(); ++r) {
    ASSERT_EQ(seen[r].size(), wanted[r].size()) << what;
    double size = 1e-3;
    for (const double v : wanted[r]) size = std::max(size, std::abs(v));
    for (size_t i = 0; i < seen[r].size(); ++i)
      ASSERT_NEAR(seen[r][i], wanted[r][i], 2e-4 * size) << what << " row " << r << " column " << i;
  }
}

class PlainLayers {
 public:
  PlainLayers(const Model& model, Recorder& seen) : c_(model.config), weights_(model.weights), seen_(seen) {}

  void check() {
    for (int layer = 0; layer < c_.layers; ++layer) {
      what_ = fmt::format("{} layer {}", c_.arch, layer);
      const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
      Vectors hidden = seen_.numbers[{"hidden", layer}];
      const Vectors x =
          each(hidden, [&](const Vector& h) { return normalised(h, w.attn_norm, c_.norm_eps); });
      c_.mla ? check_mla(w, x) : check_gqa(w, x);
      for (size_t t = 0; t < hidden.size(); ++t) {
        hidden[t] = plus(hidden[t], times(w.wo, seen_.rows(w.wo)[t]));
        if (w.bo) hidden[t] = plus(hidden[t], Vector(w.bo.f32(), w.bo.f32() + c_.dim));
      }
      const Vectors y = each(hidden, [&](const Vector& h) { return normalised(h, w.ffn_norm, c_.norm_eps); });
      c_.sparse(layer) ? check_experts(layer, w, y, hidden) : check_mlp(w.gate, w.up, w.down, y, hidden);
      expect_near(seen_.numbers[{"hidden", layer + 1}], hidden, what_ + " output");
    }
  }

 private:
  template <typename F>
  static Vectors each(const Vectors& rows, F f) {
    Vectors out;
    for (const Vector& row : rows) out.push_back(f(row));
    return out;
  }

  void check_gqa(const LayerWeights& w, const Vectors& x) {
    for (const Mat* m : {&w.wq, &w.wk, &w.wv}) expect_near(seen_.rows(*m), x, what_ + " qkv");
  }

  void check_mla(const LayerWeights& w, const Vectors& x) {
    const MlaConfig& m = *c_.mla;
    const bool low_rank = m.q_lora > 0;
    expect_near(seen_.rows(w.wkv_a), x, what_ + " wkv_a");
    expect_near(seen_.rows(low_rank ? w.wq_a : w.wq), x, what_ + " wq");
    Vectors latent = x;
    if (low_rank) {
      latent = each(x, [&](const Vector& v) { return normalised(times(w.wq_a, v), w.q_a_norm, 1e-6); });
      expect_near(seen_.rows(w.wq_b), latent, what_ + " wq_b");
    }
    for (int h = 0; h < c_.heads; ++h) {
      expect_near(seen_.rows(w.k_b, h),
                  each(latent,
                       [&](const Vector& v) {
                         return plus(Vector(static_cast<size_t>(m.nope)),
                                     times(low_rank ? w.wq_b : w.wq, v, h * (m.nope + m.rope), m.nope),
                                     c_.attention_scale);
                       }),
                  what_ + " k_b");
      const Vectors out = each(seen_.rows(w.wo), [&](const Vector& v) {
        return Vector(v.begin() + h * m.v, v.begin() + (h + 1) * m.v);
      });
      expect_near(out,
                  each(seen_.rows(w.v_b, h), [&](const Vector& v) { return times(w.v_b, v, h * m.v, m.v); }),
                  what_ + " v_b");
    }
    if (!c_.indexer) return;
    expect_near(seen_.rows(w.index_k), x, what_ + " index_k");
    expect_near(seen_.rows(w.index_q), latent, what_ + " index_q");
  }

  void check_mlp(const Mat& gate, const Mat& up, const Mat& down, const Vectors& y, Vectors& hidden) {
    expect_near(seen_.rows(gate), y, what_ + " gate");
    expect_near(seen_.rows(up), y, what_ + " up");
    expect_near(seen_.rows(down), each(y, [&](const Vector& v) { return gated(gate, up, v); }),
                what_ + " down");
    for (size_t t = 0; t < hidden.size(); ++t) hidden[t] = plus(hidden[t], times(down, seen_.rows(down)[t]));
  }

  void check_experts(int layer, const LayerWeights& w, const Vectors& y, Vectors& hidden) {
    const MoeConfig& m = *c_.moe;
    expect_near(seen_.rows(w.router), y, what_ + " router");
    if (m.shared_inter > 0) check_mlp(w.shared_gate, w.shared_up, w.shared_down, y, hidden);
    std::vector<Vectors> met(w.experts.size());
    for (size_t t = 0; t < y.size(); ++t)
      for (size_t k = 0; k < static_cast<size_t>(m.router.active); ++k) {
        const auto e = static_cast<size_t>(seen_.choices[{"router_topk", layer}][t][k]);
        const double weight = seen_.numbers[{"router_weights", layer}][t][k];
        const Expert& expert = w.experts[e];
        met[e].push_back(m.scale_input ? plus(Vector(y[t].size()), y[t], weight) : y[t]);
        hidden[t] = plus(hidden[t], times(expert.down, gated(expert.gate, expert.up, met[e].back())),
                         m.scale_input ? 1 : weight);
      }
    for (size_t e = 0; e < met.size(); ++e) {
      const Expert& expert = w.experts[e];
      expect_near(seen_.rows(expert.gate), met[e], what_ + " expert gate");
      expect_near(seen_.rows(expert.up), met[e], what_ + " expert up");
      expect_near(seen_.rows(expert.down),
                  each(met[e], [&](const Vector& v) { return gated(expert.gate, expert.up, v); }),
                  what_ + " expert down");
    }
  }

  const Config& c_;
  const Weights& weights_;
  Recorder& seen_;
  std::string what_;
};

// The sums of squares, matrix after matrix, of what a recorder saw.
Importance plainly(const std::vector<const Vectors*>& matrices, int cols) {
  Importance importance;
  for (const Vectors* rows : matrices) {
    for (int i = 0; i < cols; ++i) {
      double sum = 0;
      for (const Vector& row : *rows) sum += row[static_cast<size_t>(i)] * row[static_cast<size_t>(i)];
      importance.sums.push_back(static_cast<float>(sum));
    }
    importance.counts.push_back(static_cast<float>(rows->size()));
  }
  return importance;
}

void expect_same(const ImportanceMatrix& collected, const std::string& name, const Importance& wanted) {
  const bool none = std::ranges::all_of(wanted.counts, [](float n) { return n == 0; });
  ASSERT_EQ(collected.tensors.contains(name), !none) << name;
  if (none) return;
  const Importance& found = collected.tensors.at(name);
  EXPECT_EQ(found.counts, wanted.counts) << name;
  ASSERT_EQ(found.sums.size(), wanted.sums.size()) << name;
  for (size_t i = 0; i < found.sums.size(); ++i)
    ASSERT_NEAR(found.sums[i], wanted.sums[i], 1e-6 * wanted.sums[i]) << name << ' ' << i;
}

// Every matrix of the model by its name in GGUF files, written out here once more.
void expect_collected(const Model& model, Recorder& seen, const ImportanceMatrix& collected) {
  static const std::map<Role, const char*> kNames = {{Role::wq, "attn_q"},
                                                     {Role::wk, "attn_k"},
                                                     {Role::wv, "attn_v"},
                                                     {Role::wo, "attn_output"},
                                                     {Role::wq_a, "attn_q_a"},
                                                     {Role::wq_b, "attn_q_b"},
                                                     {Role::wkv_a, "attn_kv_a_mqa"},
                                                     {Role::k_b, "attn_k_b"},
                                                     {Role::v_b, "attn_v_b"},
                                                     {Role::index_q, "indexer.attn_q_b"},
                                                     {Role::index_k, "indexer.attn_k"},
                                                     {Role::index_weights, "indexer.proj"},
                                                     {Role::gate, "ffn_gate"},
                                                     {Role::up, "ffn_up"},
                                                     {Role::down, "ffn_down"},
                                                     {Role::router, "ffn_gate_inp"},
                                                     {Role::shared_gate, "ffn_gate_shexp"},
                                                     {Role::shared_up, "ffn_up_shexp"},
                                                     {Role::shared_down, "ffn_down_shexp"},
                                                     {Role::expert_gate, "ffn_gate_exps"},
                                                     {Role::expert_up, "ffn_up_exps"},
                                                     {Role::expert_down, "ffn_down_exps"},
                                                     {Role::mtp_proj, "nextn.eh_proj"}};
  std::map<std::string, std::pair<std::vector<const Vectors*>, int>> wanted;
  Weights weights = model.weights;
  for_each_weight(model.config, weights, [&](const WeightSlot& slot, Mat& w) {
    const auto name = kNames.find(slot.role);
    if (name == kNames.end()) return;
    auto& [matrices, cols] = wanted[fmt::format("blk.{}.{}.weight", slot.layer, name->second)];
    const bool heads = slot.role == Role::k_b || slot.role == Role::v_b;
    for (int h = 0; h < (heads ? model.config.heads : 1); ++h) matrices.push_back(&seen.rows(w, h));
    cols = w.cols;
  });
  wanted[model.config.tied ? "token_embd.weight" : "output.weight"] = {{&seen.numbers[{"final_norm", -1}]},
                                                                       model.config.dim};
  size_t found = 0;
  for (const auto& [name, matrices] : wanted) {
    expect_same(collected, name, plainly(matrices.first, matrices.second));
    found += collected.tensors.contains(name);
  }
  EXPECT_EQ(collected.tensors.size(), found) << "and no others";
}

class Importances : public testing::TestWithParam<const char*> {};

TEST_P(Importances, AreOfWhatMetEachMatrix) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    Random random(seed);
    const RandomModel made(random_config(random, GetParam()), seed, Format::f32);
    const Model& model = made.model();
    const std::vector<Token> tokens = random_tokens(random, model.config.vocab, between(random, 1, 40));
    Recorder seen = record(model, tokens);
    PlainLayers(model, seen).check();
    Instance instance(model, exact_options(model.config, between(random, 1, 50)));
    expect_collected(model, seen, collect_importance(instance, tokens, 40, -1));
  }
}

// In weights that meet rounded activations as well, what is counted is what there was before it was rounded.
TEST_P(Importances, AreTheSameOnAnyThreadsAndSteps) {
  Random random(9);
  const RandomModel made(random_config(random, GetParam()), 9, Format::q8_0);
  const Model& model = made.model();
  const std::vector<Token> tokens = random_tokens(random, model.config.vocab, 50);
  std::optional<ImportanceMatrix> first;
  for (const auto& [threads, rows] : std::vector<std::pair<int, int>>{{1, 64}, {3, 64}, {2, 5}}) {
    InstanceOptions options = exact_options(model.config, rows, threads);
    options.round_activations = true;
    Instance instance(model, options);
    const ImportanceMatrix now = collect_importance(instance, tokens, 20, 1);
    EXPECT_EQ(now.chunks, 3u);
    EXPECT_EQ(now.chunk_tokens, 20u);
    if (!first) first = now;
    for (const auto& [name, importance] : now.tensors) {
      EXPECT_EQ(importance.sums, first->tensors.at(name).sums) << name;
      EXPECT_EQ(importance.counts, first->tensors.at(name).counts) << name;
    }
  }
  EXPECT_EQ(first->tensors.at(model.config.tied ? "token_embd.weight" : "output.weight").counts,
            std::vector<float>{53});  // three windows, each after a token of its own
}

INSTANTIATE_TEST_SUITE_P(Architectures, Importances, testing::ValuesIn(kArchitectureNames),
                         [](const auto& test) { return std::string(test.param); });

class ImportanceOfFiles : public testing::Test {
 protected:
  TemporaryFolder folder_;

  // What the file's tensors, quantised by it, would have to do without.
  ImportanceGaps gaps(const TestGguf& gguf, ImportanceMatrix& matrix) {
    gguf.write(folder_ / "model.gguf");
    const Model model = load_model(folder_ / "model.gguf");
    Random random(3);
    Instance instance(model, exact_options(model.config, 64));
    matrix = collect_importance(instance, random_tokens(random, model.config.vocab, 200), 100, -1);
    QuantizePlan plan = plan_quantize(*model.gguf(), TypeRules::parse("Q8_0"), true);
    return use_importance(plan, matrix, "m.gguf");
  }
};

// Its own names are in each file, in the shapes quantize wants; embeddings that are only looked up have none.
TEST_F(ImportanceOfFiles, FitTheTensorsOfTheFile) {
  for (const char* name : {"llama", "qwen2", "llama4", "deepseek_v2_lite", "deepseek_v3", "deepseek_v32"})
    for (const bool legacy : {false, true}) {
      ImportanceMatrix matrix;
      const ImportanceGaps found =
          gaps(golden_as_gguf(name, {.legacy_kv_b = legacy, .fused_gate_up = legacy}), matrix);
      const bool tied = matrix.tensors.contains("token_embd.weight");
      EXPECT_EQ(found.absent,
                tied ? std::vector<std::string>{} : std::vector<std::string>{"token_embd.weight"})
          << name;
    }
}

TEST_F(ImportanceOfFiles, ModelsThatGiveNoNumbersAreNamed) {
  TestGguf gguf = golden_as_gguf("llama");
  gguf.drop("blk.0.attn_norm.weight");
  const int64_t dim = load_model(golden_folder("llama")).config.dim;
  gguf.add("blk.0.attn_norm.weight", {dim}, std::vector<float>(static_cast<size_t>(dim), NAN));
  ImportanceMatrix matrix;
  expect_says(error_of([&] { gaps(gguf, matrix); }), "meets values that are not finite");
}

}  // namespace
}  // namespace minke

#include "model/quantize.h"

#include <algorithm>
#include <limits>

#include "model/test_gguf.h"

namespace minke {
namespace {

class Quantize : public testing::Test {
 protected:
  Gguf written(const TestGguf& gguf, const char* name = "source.gguf") {
    gguf.write(folder_ / name);
    return Gguf::open(folder_ / name);
  }
  Gguf quantized(const Gguf& source, const char* rules, int threads = 2, bool twice = false) {
    const fs::path out = folder_ / "out.gguf";
    fs::remove(out);
    QuantizeOptions options;
    options.threads = threads;
    const QuantizePlan plan = plan_quantize(source, TypeRules::parse(rules), twice);
    EXPECT_TRUE(write_quantized(source, plan, out, options).whole);
    return Gguf::open(out);
  }
  static std::string type_of(const Gguf& gguf, const char* tensor) {
    const TensorView* t = gguf.tensor(tensor);
    return t ? type_name(*t) : "absent";
  }
  std::string refusal(const char* rules) {
    return error_of([&] { TypeRules::parse(rules); });
  }

  TemporaryFolder folder_;
};

// Two layers of experts, rows of `dim` columns.
TestGguf small_moe(int64_t dim) {
  TestGguf gguf;
  gguf.set("general.architecture", std::string("anything"));
  gguf.set("general.license", std::string("mit"));
  gguf.set("general.file_type", int64_t{1});
  gguf.set("tokenizer.ggml.merges", std::vector<int32_t>{1, 2, 3});
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    std::vector<float> values(static_cast<size_t>(count));
    Random random(name.size());
    for (float& x : values) x = random.normal();
    gguf.add(name, std::move(shape), values);
  };
  add("token_embd.weight", {40, dim});
  add("output_norm.weight", {dim});
  add("output.weight", {40, dim});
  for (const char* layer : {"blk.0.", "blk.1."}) {
    add(std::string(layer) + "attn_norm.weight", {dim});
    add(std::string(layer) + "attn_q.weight", {32, dim});
    add(std::string(layer) + "attn_q.bias", {32});
    add(std::string(layer) + "ffn_gate_inp.weight", {4, dim});
    add(std::string(layer) + "exp_probs_b.bias", {4});
    add(std::string(layer) + "ffn_gate_exps.weight", {4, 16, dim});
    add(std::string(layer) + "ffn_down_shexp.weight", {dim, 33});
    add(std::string(layer) + "ffn_up.weight", {8, dim});
  }
  return gguf;
}

TEST_F(Quantize, EveryWeightByItsRule) {
  const Gguf source = written(small_moe(512));
  const Gguf out = quantized(
      source, "experts=Q4_K,attn=Q8_0,embd=Q6_K,output=keep,blk.1.attn*=F16,ffn_up=Q2_K,default=Q5_K");
  EXPECT_EQ(type_of(out, "token_embd.weight"), "Q6_K");
  EXPECT_EQ(type_of(out, "output.weight"), "F32");
  EXPECT_EQ(type_of(out, "blk.0.attn_q.weight"), "Q8_0");
  EXPECT_EQ(type_of(out, "blk.1.attn_q.weight"), "F16");
  EXPECT_EQ(type_of(out, "blk.0.ffn_gate_exps.weight"), "Q4_K");
  EXPECT_EQ(type_of(out, "blk.1.ffn_up.weight"), "Q2_K");
  EXPECT_EQ(type_of(out, "blk.0.ffn_down_shexp.weight"), "F32");  // rows of 33
  for (const char* same : {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.bias",
                           "blk.1.ffn_gate_inp.weight", "blk.1.exp_probs_b.bias", "output.weight"}) {
    EXPECT_EQ(type_of(out, same), "F32") << same;
    EXPECT_TRUE(std::ranges::equal(out.tensor(same)->bytes, source.tensor(same)->bytes)) << same;
  }
  const std::vector<float> before = to_floats(*source.tensor("blk.1.ffn_gate_exps.weight")),
                           after = to_floats(*out.tensor("blk.1.ffn_gate_exps.weight"));
  double error = 0;
  for (size_t i = 0; i < before.size(); ++i) error += std::pow(before[i] - after[i], 2);
  EXPECT_LT(std::sqrt(error / static_cast<double>(before.size())), 0.08);
}

TEST_F(Quantize, MetadataStays) {
  const Gguf out = quantized(written(small_moe(256)), "Q4_K");
  EXPECT_EQ(out.string("general.license"), "mit");
  EXPECT_EQ(out.integers("tokenizer.ggml.merges"), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(out.integer("general.file_type"), 14);
  EXPECT_EQ(out.integer("general.quantization_version"), 2);
  EXPECT_EQ(out.string("general.quantized_by"), "minke");
  EXPECT_EQ(out.string("minke.quantize.source"), "source.gguf");
  EXPECT_EQ(out.string("minke.quantize.types"), "Q4_K");
}

TEST_F(Quantize, SplitFilesBecomeOne) {
  const TestGguf gguf = small_moe(256);
  const Gguf parts = Gguf::open(gguf.write_split(folder_ / "split", 3));
  const Gguf out = quantized(parts, "Q8_0");
  EXPECT_EQ(out.find("split.count"), nullptr);
  EXPECT_EQ(out.tensors().size(), parts.tensors().size());
  const Gguf whole = quantized(written(gguf), "Q8_0");
  for (const TensorView& t : whole.tensors())
    EXPECT_TRUE(std::ranges::equal(t.bytes, out.tensor(t.name)->bytes)) << t.name;
}

TEST_F(Quantize, SameBytesWithAnyNumberOfThreads) {
  const Gguf source = written(small_moe(256));
  quantized(source, "Q3_K", 1);
  const std::string once = read_file(folder_ / "out.gguf");
  quantized(source, "Q3_K", 5);
  EXPECT_TRUE(read_file(folder_ / "out.gguf") == once);
}

TEST_F(Quantize, ShortRowsTakeAFormatOfTheSameSize) {
  const Gguf source = written(small_moe(96));
  const std::pair<const char*, const char*> kInstead[] = {
      {"Q2_K", "Q4_0"},     {"Q3_K", "Q4_0"}, {"Q4_K", "Q5_0"},   {"Q5_K", "Q5_1"}, {"Q6_K", "Q8_0"},
      {"IQ4_XS", "IQ4_NL"}, {"Q4_1", "Q4_1"}, {"MXFP4", "MXFP4"}, {"BF16", "BF16"}};
  for (const auto& [wanted, taken] : kInstead) {
    const QuantizePlan plan = plan_quantize(source, TypeRules::parse(wanted), false);
    const auto t = std::ranges::find(plan.tensors, "blk.0.attn_q.weight",
                                     [](const PlannedTensor& p) { return p.to.name; });
    EXPECT_STREQ(type_name(t->to), taken);
    EXPECT_EQ(t->wanted.has_value(), std::string_view(wanted) != taken);
  }
}

TEST_F(Quantize, WhatWasRoundedIsRoundedAgainOnlyIfAsked) {
  const Gguf source = written(small_moe(256));
  quantized(source, "Q8_0");
  fs::rename(folder_ / "out.gguf", folder_ / "q8.gguf");
  const Gguf q8 = Gguf::open(folder_ / "q8.gguf");
  expect_says(error_of([&] { plan_quantize(q8, TypeRules::parse("Q4_K"), false); }), "--allow-requantize");
  quantized(q8, "Q8_0");  // nothing is rounded
  EXPECT_EQ(type_of(quantized(q8, "Q4_K", 2, true), "output.weight"), "Q4_K");
}

TEST_F(Quantize, SharedOutputFollowsItsRule) {
  TestGguf gguf = small_moe(256);
  gguf.drop("output.weight");
  const Gguf source = written(gguf);
  EXPECT_EQ(type_of(quantized(source, "default=Q4_K,output=Q6_K"), "token_embd.weight"), "Q6_K");
  EXPECT_EQ(type_of(quantized(source, "default=Q4_K,output=Q6_K,embd=Q8_0"), "token_embd.weight"), "Q8_0");
}

// Importance for every tensor of small_moe(256) that Q4_K rounds; experts have their own.
ImportanceMatrix random_importance() {
  ImportanceMatrix matrix;
  Random random(8);
  const auto add = [&](const std::string& name, size_t matrices) {
    Importance& to = matrix.tensors[name];
    for (size_t i = 0; i < matrices * 256; ++i) to.sums.push_back(std::exp(2 * random.normal()));
    to.counts.assign(matrices, 2);
  };
  add("output.weight", 1);
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    add(layer + "attn_q.weight", 1);
    add(layer + "ffn_up.weight", 1);
    add(layer + "ffn_gate_exps.weight", 4);
  }
  matrix.datasets = {"prose.txt"};
  matrix.chunks = 5;
  return matrix;
}

// Weighted squared error of matrix m of a stack.
double weighted_loss(const Gguf& before, const Gguf& after, const char* tensor, const ImportanceMatrix& by,
                     size_t m = 0) {
  const std::vector<float> x = to_floats(*before.tensor(tensor)), y = to_floats(*after.tensor(tensor));
  const std::vector<float>& w = by.tensors.at(tensor).sums;
  const size_t each = x.size() / by.tensors.at(tensor).counts.size();
  double loss = 0;
  for (size_t i = m * each; i < (m + 1) * each; ++i)
    loss += w[m * 256 + i % 256] * std::pow(double{x[i]} - y[i], 2);
  return loss;
}

TEST_F(Quantize, ImportanceSparesWhatMattersInEachMatrix) {
  const Gguf source = written(small_moe(256));
  ImportanceMatrix matrix = random_importance();
  QuantizePlan plan = plan_quantize(source, TypeRules::parse("Q3_K"), false);
  const ImportanceGaps gaps = use_importance(plan, matrix, "some/where/m.gguf");
  EXPECT_EQ(gaps.absent, std::vector<std::string>{"token_embd.weight"});
  EXPECT_TRUE(gaps.unmet.empty());
  ASSERT_TRUE(write_quantized(source, plan, folder_ / "with.gguf", {}).whole);
  const Gguf with = Gguf::open(folder_ / "with.gguf"), without = quantized(source, "Q3_K");
  for (const char* tensor : {"output.weight", "blk.0.attn_q.weight", "blk.1.ffn_up.weight"})
    EXPECT_LT(weighted_loss(source, with, tensor, matrix),
              0.9 * weighted_loss(source, without, tensor, matrix))
        << tensor;
  for (size_t e = 0; e < 4; ++e)
    EXPECT_LT(weighted_loss(source, with, "blk.1.ffn_gate_exps.weight", matrix, e),
              0.9 * weighted_loss(source, without, "blk.1.ffn_gate_exps.weight", matrix, e))
        << e;
  EXPECT_TRUE(std::ranges::equal(with.tensor("token_embd.weight")->bytes,
                                 without.tensor("token_embd.weight")->bytes));
  EXPECT_EQ(with.string("quantize.imatrix.file"), "m.gguf");
  EXPECT_EQ(with.string("quantize.imatrix.dataset"), "prose.txt");
  EXPECT_EQ(with.integer("quantize.imatrix.entries_count"), 7);
  EXPECT_EQ(with.integer("quantize.imatrix.chunks_count"), 5);
  EXPECT_EQ(without.find("quantize.imatrix.file"), nullptr);
  EXPECT_EQ(quantized(with, "Q8_0", 2, true).find("quantize.imatrix.file"), nullptr);
}

// Rows of an expert that the text never chose are rounded as if nothing were known; of the others, by their
// own.
TEST_F(Quantize, ExpertsThatWereNeverChosen) {
  const Gguf source = written(small_moe(256));
  ImportanceMatrix matrix = random_importance();
  Importance& experts = matrix.tensors.at("blk.0.ffn_gate_exps.weight");
  experts.counts[2] = 0;
  std::fill_n(experts.sums.begin() + 2 * 256, 256, 0.0f);
  QuantizePlan plan = plan_quantize(source, TypeRules::parse("Q4_K"), false);
  const ImportanceGaps gaps = use_importance(plan, matrix, "m.gguf");
  ASSERT_EQ(gaps.unmet.size(), 1u);
  EXPECT_EQ(gaps.unmet[0].tensor, "blk.0.ffn_gate_exps.weight");
  EXPECT_EQ(gaps.unmet[0].matrices, 1);
  EXPECT_EQ(gaps.unmet[0].of, 4);
  ASSERT_TRUE(write_quantized(source, plan, folder_ / "with.gguf", {}).whole);
  const Gguf with = Gguf::open(folder_ / "with.gguf"), without = quantized(source, "Q4_K");
  const Bytes a = with.tensor("blk.0.ffn_gate_exps.weight")->bytes,
              b = without.tensor("blk.0.ffn_gate_exps.weight")->bytes;
  for (size_t e = 0, each = a.size() / 4; e < 4; ++e)
    EXPECT_EQ(std::ranges::equal(a.subspan(e * each, each), b.subspan(e * each, each)), e == 2) << e;
}

TEST_F(Quantize, ImportanceOfAnotherModelIsRefused) {
  const Gguf source = written(small_moe(256));
  QuantizePlan plan = plan_quantize(source, TypeRules::parse("Q4_K"), false);
  const auto refused = [&](const ImportanceMatrix& matrix) {
    return error_of([&] { use_importance(plan, matrix, "m.gguf"); });
  };
  ImportanceMatrix other = random_importance();
  other.tensors["blk.0.attn_q.weight"] = {std::vector<float>(512, 1), {1}};
  const std::string said = refused(other);
  expect_says(said, "m.gguf");
  expect_says(said, "'blk.0.attn_q.weight'");
  expect_says(said, "another model");
  other = random_importance();
  other.tensors["blk.0.ffn_gate_exps.weight"].counts.assign(2, 1);
  expect_says(refused(other), "'blk.0.ffn_gate_exps.weight'");
  ImportanceMatrix strange;
  strange.tensors["layers.0.q"] = {{1}, {1}};
  expect_says(refused(strange), "of none of the tensors");
}

// Files keep gate and up together or apart, and MLA's values as one matrix or one for each head.
TEST_F(Quantize, ImportanceOfTheSameInputServes) {
  TestGguf gguf;
  gguf.set("general.architecture", std::string("anything"));
  const std::vector<float> values(4 * 2 * 256, 0.5f);
  gguf.add("blk.0.ffn_gate_exps.weight", {4, 2, 256}, values);
  gguf.add("blk.0.ffn_up_exps.weight", {4, 2, 256}, values);
  gguf.add("blk.1.ffn_gate_up_exps.weight", {4, 2, 256}, values);
  gguf.add("blk.1.attn_v_b.weight", {4, 2, 256}, values);
  const Gguf source = written(gguf);
  ImportanceMatrix matrix;
  matrix.tensors["blk.0.ffn_gate_up_exps.weight"] = {std::vector<float>(4 * 256, 3), {1, 1, 1, 1}};
  matrix.tensors["blk.1.ffn_up_exps.weight"] = {std::vector<float>(4 * 256, 4), {1, 1, 1, 1}};
  matrix.tensors["blk.1.attn_kv_b.weight"] = {std::vector<float>(256, 5), {1}};
  QuantizePlan plan = plan_quantize(source, TypeRules::parse("Q4_K"), false);
  EXPECT_TRUE(use_importance(plan, matrix, "m.gguf").absent.empty());
  const float wanted[] = {3, 3, 4, 5};
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(importance_of(plan.tensors[i]), std::vector<float>(4 * 256, wanted[i]))
        << plan.tensors[i].to.name;
}

TEST_F(Quantize, MistakesAreNamed) {
  expect_says(refusal("Q4_K_M"), "'Q4_K_M' is no format to write");
  expect_says(refusal("F8_E4M3"), "no format to write");
  expect_says(refusal(""), "--type");
  expect_says(refusal("attn=Q4_K,attn=Q5_K"), "twice");
  expect_says(refusal("=Q4_K"), "names no weights");
  const Gguf source = written(small_moe(256));
  expect_says(error_of([&] { quantized(source, "atn=Q4_K"); }), "'atn'");
  expect_says(error_of([&] { quantized(source, "output_norm.weight=Q4_K"); }), "'output_norm.weight'");

  const QuantizePlan plan = plan_quantize(source, TypeRules::parse("Q4_K"), false);
  const auto writing = [&](const fs::path& out, bool overwrite = false) {
    QuantizeOptions options;
    options.overwrite = overwrite;
    return error_of([&] { write_quantized(source, plan, out, options); });
  };
  expect_says(writing(folder_ / "source.gguf", true), "is the file that is read");
  expect_says(writing(folder_ / "x-00001-of-00002.gguf"), "part of a split file");
  expect_says(writing(folder_.path(), true), "is a folder");
  write_text(folder_ / "there.gguf", "something");
  expect_says(writing(folder_ / "there.gguf"), "--force");
  EXPECT_EQ(read_file(folder_ / "there.gguf"), "something");
}

TEST_F(Quantize, DamagedValuesAreNamedAndNothingIsLeft) {
  TestGguf gguf = small_moe(256);
  std::vector<float> values(512, 1.0f);
  values[300] = std::numeric_limits<float>::quiet_NaN();
  gguf.add("blk.2.attn_q.weight", {2, 256}, values);
  const Gguf source = written(gguf);
  const std::string said = error_of([&] { quantized(source, "Q4_K"); });
  expect_says(said, "blk.2.attn_q.weight");
  expect_says(said, "source.gguf");
  EXPECT_FALSE(fs::exists(folder_ / "out.gguf"));
}

TEST_F(Quantize, StoppedLeavesNothing) {
  const Gguf source = written(small_moe(256));
  QuantizeOptions options;
  options.stopped = [] { return true; };
  const QuantizePlan plan = plan_quantize(source, TypeRules::parse("Q4_K"), false);
  EXPECT_FALSE(write_quantized(source, plan, folder_ / "out.gguf", options).whole);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
}

// Every architecture still loads, and what is rounded to F32 is what it was.
TEST_F(Quantize, ModelsOfEveryArchitectureStayModels) {
  for (const char* name : {"llama", "qwen2", "llama4", "deepseek_v2_lite", "deepseek_v3", "deepseek_v32"}) {
    const Gguf source = written(golden_as_gguf(name));
    quantized(source, "F32");
    VerifyOptions options;
    options.threads = 2;
    expect_verified(load_model(folder_ / "out.gguf"), golden_tensors(name), options, name);
    for (const char* rules : {"Q8_0", "Q4_K", "experts=MXFP4,default=IQ4_XS"}) {
      quantized(source, rules);
      EXPECT_GT(load_model(folder_ / "out.gguf").config.layers, 0) << name << rules;
    }
  }
}

}  // namespace
}  // namespace minke

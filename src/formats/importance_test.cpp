#include "formats/importance.h"

#include <cmath>
#include <limits>

#include "formats/gguf_writer.h"
#include "formats/test_files.h"

namespace minke {
namespace {

ImportanceMatrix sample() {
  ImportanceMatrix matrix;
  matrix.tensors["blk.0.attn_q.weight"] = {{2, 0, 8.5f}, {2}};
  matrix.tensors["blk.1.ffn_down_exps.weight"] = {{1, 2, 3, 0, 0, 0, 9, 6, 3}, {1, 0, 3}};
  matrix.datasets = {"prose.txt", "code.txt"};
  matrix.chunks = 7;
  matrix.chunk_tokens = 512;
  return matrix;
}

void expect_equal(const ImportanceMatrix& a, const ImportanceMatrix& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, importance] : a.tensors) {
    ASSERT_TRUE(b.tensors.contains(name)) << name;
    EXPECT_EQ(importance.sums, b.tensors.at(name).sums) << name;
    EXPECT_EQ(importance.counts, b.tensors.at(name).counts) << name;
  }
  EXPECT_EQ(a.datasets, b.datasets);
  EXPECT_EQ(a.chunks, b.chunks);
  EXPECT_EQ(a.chunk_tokens, b.chunk_tokens);
}

class ImportanceFile : public testing::Test {
 protected:
  std::string written(const ImportanceMatrix& matrix, const char* name) {
    write_importance(folder_ / name, matrix);
    return read_file(folder_ / name);
  }
  TemporaryFolder folder_;
};

TEST_F(ImportanceFile, ComesBackAsItWas) {
  written(sample(), "sample.gguf");
  expect_equal(read_importance(folder_ / "sample.gguf"), sample());
}

TEST_F(ImportanceFile, IsWhatOtherProgramsRead) {
  written(sample(), "sample.gguf");
  const Gguf gguf = Gguf::open(folder_ / "sample.gguf");
  EXPECT_EQ(gguf.string("general.type"), "imatrix");
  EXPECT_EQ(gguf.strings("imatrix.datasets"), (std::vector<std::string_view>{"prose.txt", "code.txt"}));
  EXPECT_EQ(gguf.find("imatrix.chunk_count")->type, GgufType::u32);
  EXPECT_EQ(gguf.integer("imatrix.chunk_count"), 7);
  EXPECT_EQ(gguf.integer("imatrix.chunk_size"), 512);
  const TensorView& sums = *gguf.tensor("blk.1.ffn_down_exps.weight.in_sum2");
  const TensorView& counts = *gguf.tensor("blk.1.ffn_down_exps.weight.counts");
  EXPECT_EQ(sums.shape, (std::vector<int64_t>{3, 3}));
  EXPECT_EQ(counts.shape, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(to_floats(counts), (std::vector<float>{1, 0, 3}));
}

// In the older format means are all there is: of a matrix that nothing met, zeros.
TEST_F(ImportanceFile, OlderFormatKeepsTheMeans) {
  written(sample(), "sample.dat");
  const ImportanceMatrix back = read_importance(folder_ / "sample.dat");
  EXPECT_EQ(back.tensors.size(), 2u);
  for (const auto& [name, importance] : sample().tensors) {
    const auto matrices = static_cast<int64_t>(importance.counts.size());
    EXPECT_EQ(back.tensors.at(name).means(matrices, 3), importance.means(matrices, 3)) << name;
  }
  EXPECT_EQ(back.chunks, 7u);
  EXPECT_EQ(back.datasets, std::vector<std::string>{"prose.txt"});
}

// Files put together byte by byte from the formats' description.
TEST(ImportanceFiles, OfEitherKindAreRead) {
  for (const char* name : {"new.gguf", "old.dat", "old_with_text.dat"}) {
    const ImportanceMatrix matrix =
        read_importance(fs::path(MINKE_TESTS_DIR "/fuzz/corpus/importance") / name);
    ASSERT_EQ(matrix.tensors.size(), 2u) << name;
    EXPECT_EQ(matrix.tensors.at("blk.0.attn_q.weight").means(1, 3), (std::vector<float>{0.5f, 1, 1.5f}))
        << name;
    EXPECT_EQ(matrix.tensors.at("blk.0.ffn_down_exps.weight").means(2, 2),
              (std::vector<float>{4 / 3.0f, 5 / 3.0f, 0, 0}))
        << name;
    const bool has_text = std::string_view(name) != "old.dat";
    EXPECT_EQ(matrix.chunks, has_text ? 7u : 0u) << name;
    EXPECT_EQ(matrix.datasets, has_text ? std::vector<std::string>{"text.txt"} : std::vector<std::string>{})
        << name;
  }
}

std::string old_entry(std::string_view name, int calls, const std::vector<float>& values) {
  std::string out;
  put(out, static_cast<int32_t>(name.size()));
  out += name;
  put(out, calls);
  put(out, static_cast<int32_t>(values.size()));
  for (const float v : values) put(out, v);
  return out;
}

std::string old_file(int entries, const std::string& rest) {
  std::string out;
  put(out, entries);
  return out + rest;
}

ImportanceMatrix parsed(const std::string& file) { return parse_importance(as_bytes(file), "sample"); }

TEST(OlderImportance, ValuesAreDividedByCalls) {
  const ImportanceMatrix matrix =
      parsed(old_file(2, old_entry("a", 4, {8, 2}) + old_entry("b", 0, {1, 2, 3, 4})));
  EXPECT_EQ(matrix.tensors.at("a").means(1, 2), (std::vector<float>{2, 0.5f}));
  EXPECT_EQ(matrix.tensors.at("b").means(2, 2), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(matrix.chunks, 0u);
  EXPECT_TRUE(matrix.datasets.empty());
}

TEST(OlderImportance, DamageIsNamed) {
  const std::string a = old_entry("a", 1, {1, 2});
  const auto says = [&](const std::string& file, std::string_view what) {
    const std::string said = error_of([&] { parsed(file); });
    expect_says(said, what);
    expect_says(said, "sample");
  };
  says("", "needs 4 bytes");
  says(old_file(0, ""), "has 0 entries");
  says(old_file(-3, a), "has -3 entries");
  says(old_file(2, a), "the file ends");
  says(old_file(2, a + a), "'a': is there twice");
  says(old_file(1, old_entry("a", -1, {1})), "has -1 calls");
  says(old_file(1, old_entry("", 1, {1})), "bytes of a name");
  says(old_file(1, old_entry("a", 1, {})), "has 0 values");
  says(old_file(1, old_entry("a", 1, {1, -1})), "negative or not finite");
  says(old_file(1, old_entry("a", 1, {NAN})), "negative or not finite");
  std::string end;
  put(end, 3), put(end, 1), end += "tt";
  says(old_file(1, a + end), "goes on after its end");
}

TEST(OlderImportance, AnyCutAndAnyBitIsSurvived) {
  std::string tail;
  put(tail, 3), put(tail, 4), tail += "text";
  const std::string body = old_file(2, old_entry("first", 2, {1, 2, 3}) + old_entry("second", 1, {4, 5}));
  cut_everywhere(body, 1, [](Bytes bytes) { parse_importance(bytes, "sample"); });
  const std::string whole = body + tail;
  EXPECT_GT(turn_bits(whole, whole.size(), 3000, [](Bytes bytes) { parse_importance(bytes, "sample"); }),
            500);
}

TEST_F(ImportanceFile, AnyCutAndAnyBitIsSurvived) {
  const std::string whole = written(sample(), "sample.gguf");
  const std::string data = whole.substr(0, whole.size() - 20);  // 12 bytes of the last tensor fill 32
  cut_everywhere(data, 7, [](Bytes bytes) { parse_importance(bytes, "sample"); });
  EXPECT_GT(turn_bits(whole, whole.size(), 3000, [](Bytes bytes) { parse_importance(bytes, "sample"); }),
            500);
}

TEST_F(ImportanceFile, WhatDoesNotFitIsNamed) {
  struct Part {
    const char* name;
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  const auto says = [&](const char* type, const std::vector<Part>& parts, std::string_view what) {
    GgufWriter writer(folder_ / "bad.gguf");
    if (type) writer.add("general.type", {GgufType::string, std::string_view(type)});
    for (const Part& p : parts) writer.declare({.name = p.name, .shape = p.shape});
    for (const Part& p : parts) writer.write(std::as_bytes(std::span(p.values)));
    writer.commit();
    const std::string said = error_of([&] { read_importance(folder_ / "bad.gguf"); });
    expect_says(said, what);
    expect_says(said, "bad.gguf");
  };
  const Part sums{"a.in_sum2", {2, 2}, {1, 2, 3, 4}}, counts{"a.counts", {2, 1}, {1, 1}};
  says(nullptr, {sums, counts}, "is no importance matrix");
  says("model", {sums, counts}, "is no importance matrix: its general.type is 'model'");
  says("imatrix", {sums}, "'a': has sums and no counts");
  says("imatrix", {counts}, "'a': has counts and no sums");
  says("imatrix", {sums, {"a.counts", {3, 1}, {1, 1, 1}}}, "4 sums for 3 counts");
  says("imatrix", {sums, {"a.counts", {4, 1}, {1, 1, 1, 1}}}, "4 counts");
  says("imatrix", {sums, counts, {"a.weight", {1}, {1}}}, "'a.weight': belongs to no importance matrix");
  says("imatrix", {{"a.in_sum2", {1, 2}, {1, -2}}, {"a.counts", {1, 1}, {1}}}, "negative or not finite");
  says("imatrix", {{"a.in_sum2", {1, 2}, {1, INFINITY}}, {"a.counts", {1, 1}, {1}}},
       "negative or not finite");
  says("imatrix", {sums, {"a.counts", {2, 1}, {1, -1}}}, "negative or not finite");
}

TEST(ImportanceMeans, AreOfTheTensorsShape) {
  const Importance stack{{1, 2, 30, 40}, {1, 10}}, old{{1, 2, 30, 40}, {2}};
  EXPECT_EQ(stack.means(2, 2), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(old.means(2, 2), (std::vector<float>{0.5f, 1, 15, 20}));
  EXPECT_EQ(old.means(1, 4), (std::vector<float>{0.5f, 1, 15, 20}));
  expect_says(error_of([&] { stack.means(1, 4); }), "another model");
  expect_says(error_of([&] { stack.means(2, 3); }), "2 x 2 columns, the tensor has 2 x 3");
  const float most = std::numeric_limits<float>::max();
  EXPECT_EQ((Importance{{most}, {0.1f}}.means(1, 1)), std::vector<float>{most});
}

}  // namespace
}  // namespace minke

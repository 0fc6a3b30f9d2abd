// room: model
// What two quantisers lose of the same weights.
//
//   quantize_bench rows OUT.gguf OUT.dat           random rows as a model's tensors, and random importance of
//   their
//                                                  columns: layer 0 normal, layer 1 with long tails
//   quantize_bench compare SOURCE A B [IMPORTANCE] relative rms error of the files A and B against SOURCE,
//   for each
//                                                  format of blocks that both chose for a tensor; columns
//                                                  weighted
//
// Prints a line of JSON for each format: of A, of B, A / B, and the worst A / B of a tensor.

#include <cmath>
#include <cstdio>
#include <map>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"
#include "formats/gguf_writer.h"
#include "formats/importance.h"

namespace {

using namespace minke;

// ---- rows

constexpr int64_t kCols = 2048, kRows = 512;
constexpr const char* kParts[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                  "ffn_gate", "ffn_up", "ffn_down"};

void write_rows(const fs::path& out, const fs::path& importance) {
  GgufWriter writer(out);
  writer.add("general.architecture", {GgufType::string, std::string_view("llama")});
  const std::pair<const char*, uint64_t> numbers[] = {
      {"llama.context_length", 2048},       {"llama.embedding_length", kCols},
      {"llama.feed_forward_length", kCols}, {"llama.block_count", 2},
      {"llama.attention.head_count", 16},   {"llama.vocab_size", kRows}};
  for (const auto& [key, value] : numbers) writer.add(key, {GgufType::u32, value});
  writer.add("llama.attention.layer_norm_rms_epsilon", {GgufType::f32, 1e-6});
  ImportanceMatrix matrix;
  std::vector<std::string> names;
  for (int layer = 0; layer < 2; ++layer)
    for (const char* part : kParts) names.push_back(fmt::format("blk.{}.{}.weight", layer, part));
  for (const std::string& name : names) writer.declare({.name = name, .shape = {kRows, kCols}});
  uint64_t seed = 0;
  for (const std::string& name : names) {
    Random random(++seed);
    std::vector<float> values(kRows * kCols);
    for (float& x : values)
      x = 0.02f * random.normal() * (name.starts_with("blk.1") ? std::exp(random.normal()) : 1.0f);
    writer.write(std::as_bytes(std::span(values)));
    Importance& to = matrix.tensors[name];
    for (int64_t i = 0; i < kCols; ++i) to.sums.push_back(std::exp(2 * random.normal()));
    to.counts = {1};
  }
  writer.commit();
  write_importance(importance, matrix);
}

// ---- compare

struct Loss {
  double a = 0, b = 0, size = 0;
  double of_a() const { return std::sqrt(a / size); }
  double of_b() const { return std::sqrt(b / size); }
};

Loss loss_of(const TensorView& source, const TensorView& a, const TensorView& b,
             const std::vector<float>& weights) {
  const int64_t cols = source.shape.back(), rows = source.count() / cols, matrices = [&] {
    int64_t n = 1;
    for (size_t i = 0; i + 2 < source.shape.size(); ++i) n *= source.shape[i];
    return n;
  }();
  Loss loss;
  std::vector<float> x(static_cast<size_t>(cols)), y(x);
  for (int64_t r = 0; r < rows; ++r) {
    const float* w = weights.empty() ? nullptr : weights.data() + r / (rows / matrices) * cols;
    const auto read = [&](const TensorView& from, std::vector<float>& to) {
      info(from.format).dequantize(from.bytes.data() + r * row_bytes(from.format, cols), to.data(), cols);
    };
    const auto lost = [&] {
      double sum = 0;
      for (int64_t i = 0; i < cols; ++i) {
        const double off = double{x[static_cast<size_t>(i)]} - y[static_cast<size_t>(i)];
        sum += (w ? w[i] : 1) * off * off;
      }
      return sum;
    };
    read(source, x);
    for (int64_t i = 0; i < cols; ++i)
      loss.size += (w ? w[i] : 1) * double{x[static_cast<size_t>(i)]} * x[static_cast<size_t>(i)];
    read(a, y);
    loss.a += lost();
    read(b, y);
    loss.b += lost();
  }
  return loss;
}

struct Total {
  int tensors = 0;
  double log_a = 0, log_b = 0, worst = 0;  // sums of logarithms of the tensors' errors
};

void compare(const Gguf& source, const Gguf& a, const Gguf& b, const ImportanceMatrix& importance) {
  std::map<std::string, Total> totals;
  for (const TensorView& tensor : source.tensors()) {
    const TensorView *of_a = a.tensor(tensor.name), *of_b = b.tensor(tensor.name);
    if (tensor.dtype != DType::weights || !of_a || !of_b || of_a->dtype != DType::weights ||
        of_a->format != of_b->format || of_a->shape != tensor.shape || of_b->shape != tensor.shape ||
        info(of_a->format).block == 1 || of_a->format == tensor.format)
      continue;
    std::vector<float> weights;
    if (!importance.tensors.empty()) {
      const auto found = importance.tensors.find(tensor.name);
      if (found == importance.tensors.end()) continue;
      const int64_t matrices = tensor.shape.size() > 2 ? tensor.shape[0] : 1;
      weights = found->second.means(matrices, tensor.shape.back());
    }
    const Loss loss = loss_of(tensor, *of_a, *of_b, weights);
    const bool tails = tensor.name.starts_with("blk.1.");
    const auto add = [&](const std::string& key) {
      Total& t = totals[key];
      ++t.tensors;
      t.log_a += std::log(loss.of_a());
      t.log_b += std::log(loss.of_b());
      t.worst = std::max(t.worst, loss.of_a() / loss.of_b());
    };
    add(name(of_a->format));
    if (source.tensors().size() == 2 * std::size(kParts))
      add(fmt::format("{} {}", name(of_a->format), tails ? "tails" : "normal"));
  }
  for (const auto& [key, t] : totals) {
    const double of_a = std::exp(t.log_a / t.tensors), of_b = std::exp(t.log_b / t.tensors);
    fmt::print(
        "{{\"format\": \"{}\", \"tensors\": {}, \"a\": {:.5f}, \"b\": {:.5f}, \"ratio\": {:.4f}, \"worst\": "
        "{:.4f}}}\n",
        key, t.tensors, of_a, of_b, of_a / of_b, t.worst);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() == 3 && args[0] == "rows") {
    write_rows(args[1], args[2]);
    return 0;
  }
  if (args.size() >= 4 && args.size() <= 5 && args[0] == "compare") {
    compare(Gguf::open(args[1]), Gguf::open(args[2]), Gguf::open(args[3]),
            args.size() == 5 ? read_importance(args[4]) : ImportanceMatrix{});
    return 0;
  }
  fmt::print(stderr, "usage: {} rows OUT.gguf OUT.dat | compare SOURCE A B [IMPORTANCE]\n", argv[0]);
  return 2;
} catch (const Error& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}

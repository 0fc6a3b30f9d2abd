#pragma once
// For tests: the golden models, models of random weights, and short ways to run them.

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/float.h"
#include "base/random.h"
#include "formats/test_files.h"
#include "model/adapters.h"
#include "model/instance.h"
#include "model/interleave.h"
#include "model/load.h"
#include "model/verify.h"

namespace minke {

inline fs::path golden_folder(std::string_view name) {
  return fs::path(MINKE_TESTS_DIR "/golden/models") / name;
}

inline constexpr const char* kGoldenModels[] = {
    "deepseek_v2_lite", "deepseek_v3", "deepseek_v3_fp8", "deepseek_v32",
    "deepseek_v3_mtp",  "llama",       "qwen2",           "llama4"};

inline Safetensors golden_tensors(std::string_view name) {
  return Safetensors::open(golden_folder(name) / "golden.safetensors");
}

// Every tensor of the reference within the tolerance of its README.
inline void expect_verified(const Model& model, const Safetensors& golden, const VerifyOptions& options,
                            const std::string& what) {
  const std::vector<Compared> results = verify(model, golden, options);
  EXPECT_GE(results.size(), 5u) << what;
  for (const Compared& c : results)
    EXPECT_TRUE(c.ok()) << what << ": " << c.name << ' ' << c.figure << ' ' << c.fault;
}

// Matrices of random values in one format each, vectors near 1 (biases near 0). No file behind it.
class RandomModel {
 public:
  // format(slot): of a matrix; F32 is taken where its columns do not fill the format's blocks.
  template <typename F>
  RandomModel(const Config& config, uint64_t seed, F format) {
    model_.config = config;
    Random random(seed);
    for_each_weight(config, model_.weights, [&](const WeightSlot& slot, Mat& mat) {
      if (slot.vector) return fill_vector(random, slot, mat);
      Format f = format(slot);
      if (slot.cols % info(f).block != 0) f = Format::f32;
      fill_matrix(random, f, slot, mat);
    });
  }
  RandomModel(const Config& config, uint64_t seed, Format format)
      : RandomModel(config, seed, [=](const WeightSlot&) { return format; }) {}

  // Adapters of some rank beside all matrices that can have one; none where the model takes none.
  void add_adapters(Random& random) {
    if (!takes_adapters(model_.config)) return;
    constexpr Format kFormats[] = {Format::f32, Format::bf16, Format::f16};
    const Format format = kFormats[random.below(3)];
    const int rank = 1 + static_cast<int>(random.below(20));
    model_.weights.adapters.resize(static_cast<size_t>(model_.config.layers));
    for (LayerAdapters& layer : model_.weights.adapters)
      for (const AdaptedMatrix& matrix : adapted_matrices()) {
        const MatrixShape shape = shape_of(model_.config, matrix);
        Adapter& adapter = layer.*matrix.adapter;
        fill_matrix(random, format, {matrix.role, 0, -1, rank, shape.in}, adapter.a);
        fill_matrix(random, format, {matrix.role, 0, -1, shape.out, rank}, adapter.b);
        adapter.scale = 0.3f;
      }
  }

  // Puts the matrices that can be in the order products read, bytes in place.
  void interleave() {
    ThreadPool pool(1);
    const std::vector<Mat> all = interleavable(model_.config, model_.weights);
    for (const Mat& m : all) minke::interleave(pool, m, const_cast<std::byte*>(m.data));
    mark_interleaved(model_.config, model_.weights, all);
  }

  const Model& model() const { return model_; }

 private:
  std::byte* take(Mat& mat, Format format, int rows, int cols) {
    mat = {nullptr, nullptr, format, rows, cols, row_bytes(format, cols)};
    std::byte* data = model_.made.take(mat.row_bytes * rows);
    mat.data = data;
    return data;
  }

  void fill_vector(Random& random, const WeightSlot& slot, Mat& mat) {
    auto* to = reinterpret_cast<float*>(take(mat, Format::f32, 1, slot.cols));
    const bool bias = slot.role == Role::bq || slot.role == Role::bk || slot.role == Role::bv ||
                      slot.role == Role::bo || slot.role == Role::index_k_bias ||
                      slot.role == Role::router_bias;
    for (int i = 0; i < slot.cols; ++i) to[i] = (bias ? 0.0f : 1.0f) + 0.1f * random.normal();
  }

  // Values of variance 1 / cols, so that products keep the size of what goes in. K types have no encoder:
  // their blocks are random codes, whose values are scaled by what f16 scales they hold.
  void fill_matrix(Random& random, Format format, const WeightSlot& slot, Mat& mat) {
    std::byte* data = take(mat, format, slot.rows, slot.cols);
    const float spread = 1 / std::sqrt(static_cast<float>(slot.cols));
    std::vector<float> row(static_cast<size_t>(slot.cols));
    if (format == Format::f8_e4m3) {
      const int scales = scale_blocks(slot.rows) * scale_blocks(slot.cols);
      auto* s = reinterpret_cast<float*>(model_.made.take(int64_t{scales} * 4));
      for (int i = 0; i < scales; ++i) s[i] = spread * static_cast<float>(0.02 + 0.02 * random.uniform());
      mat.scales = s;
      for (int64_t i = 0; i < mat.bytes(); ++i)
        data[i] = static_cast<std::byte>(f32_to_e4m3(30 * random.normal()));
      return;
    }
    for (int r = 0; r < slot.rows; ++r) {
      std::byte* to = data + r * mat.row_bytes;
      if (info(format).quantize) {
        for (float& v : row) v = spread * random.normal();
        info(format).quantize(row.data(), to, slot.cols);
      } else {
        random_blocks(random, format, spread, to, mat.row_bytes);
      }
    }
  }

  static void random_blocks(Random& random, Format format, float spread, std::byte* to, int64_t bytes) {
    // Where the f16 scales of a block are, and a scale that gives values of about 1.
    struct Scales {
      Format format;
      int offsets[2];
      float one;
    };
    static constexpr Scales kScales[] = {
        {Format::q2_k, {80, 82}, 1.0f / 8},     {Format::q3_k, {108, -1}, 1.0f / 40},
        {Format::q4_k, {0, 2}, 1.0f / 250},     {Format::q5_k, {0, 2}, 1.0f / 500},
        {Format::q6_k, {208, -1}, 1.0f / 1400}, {Format::iq4_nl, {0, -1}, 1.0f / 64},
        {Format::iq4_xs, {0, -1}, 1.0f / 1200}};
    for (int64_t i = 0; i < bytes; ++i) to[i] = static_cast<std::byte>(random.bits());
    for (const Scales& s : kScales) {
      if (s.format != format) continue;
      for (int64_t block = 0; block < bytes; block += info(format).block_bytes) {
        for (const int offset : s.offsets) {
          const uint16_t half = f32_to_f16(spread * s.one * static_cast<float>(0.5 + random.uniform()));
          if (offset >= 0) std::memcpy(to + block + offset, &half, 2);
        }
      }
    }
  }

  Model model_;
};

// A cache view with room for `tokens` tokens.
inline KvView reserved(Instance& instance, int tokens) {
  KvView view;
  EXPECT_TRUE(instance.kv().reserve(view, tokens));
  return view;
}

inline std::vector<Token> random_tokens(Random& random, int vocab, int count) {
  std::vector<Token> tokens(static_cast<size_t>(count));
  for (Token& t : tokens) t = static_cast<Token>(random.below(static_cast<uint64_t>(vocab)));
  return tokens;
}

}  // namespace minke

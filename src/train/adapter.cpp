#include "train/adapter.h"

#include <cmath>

#include "base/random.h"
#include "train/parameters.h"

namespace minke {
namespace {

// [rows][rank] times scale.
void scale_rows(const Context& ctx, float* x, int rows, int rank, float scale) {
  ctx.pool.for_each(int64_t{rows} * rank, 4096, [&](int64_t begin, int64_t end, int) {
    ctx.kernels.scale(x + begin, scale, static_cast<int>(end - begin));
  });
}

}  // namespace

int64_t adapter_bytes(const Config& config, const LoraConfig& lora) {
  int64_t numbers = 0;
  for (const AdaptedMatrix& matrix : adapted_matrices()) {
    if (lora.rank == 0 || !lora.targets_matrix(matrix)) continue;
    const MatrixShape shape = shape_of(config, matrix);
    numbers += int64_t{lora.rank} * (shape.in + shape.out);
  }
  return config.layers * numbers * static_cast<int64_t>(sizeof(float));
}

Adapters::Adapters(const Config& config, const LoraConfig& lora) {
  layers_.resize(static_cast<size_t>(config.layers));
  memory_ = Memory(adapter_bytes(config, lora), "adapters");
  float* next = memory_.as<float>();
  const auto take = [&](int rows, int cols) {
    const Mat m{
        reinterpret_cast<const std::byte*>(next), nullptr, Format::f32, rows, cols, int64_t{cols} * 4};
    next += int64_t{rows} * cols;
    return m;
  };
  for (LayerAdapters& layer : layers_)
    for (const AdaptedMatrix& matrix : adapted_matrices()) {
      if (!lora.targets_matrix(matrix)) continue;
      const MatrixShape shape = shape_of(config, matrix);
      Adapter& adapter = layer.*matrix.adapter;
      adapter.a = take(lora.rank, shape.in);
      adapter.b = take(shape.out, lora.rank);
      adapter.scale = lora.scale();
    }
}

Adapters random_adapters(const Config& config, const LoraConfig& lora, uint64_t seed) {
  Adapters adapters(config, lora);
  Random random(seed);
  for_each_adapter(adapters, [&](int, const AdaptedMatrix&, const Adapter& adapter) {
    const double bound = 1 / std::sqrt(static_cast<double>(adapter.a.cols));
    for (int64_t i = 0; i < int64_t{adapter.a.rows} * adapter.a.cols; ++i)
      data(adapter.a)[i] = static_cast<float>(bound * (2 * random.uniform() - 1));
  });
  return adapters;
}

void adapt(const Context& ctx, Precision precision, const Rows& x, const Adapter& adapter, float* adapted,
           float* out, int64_t stride) {
  const int rank = adapter.rank();
  project(ctx, precision, x, adapter.a, adapted, rank);
  scale_rows(ctx, adapted, x.count, rank, adapter.scale);
  project(ctx, precision, {adapted, rank, x.count, rank}, adapter.b, out, stride, true);
}

void adapt_backward(const Context& ctx, Precision precision, const Rows& x, const Adapter& adapter,
                    const Adapter& gradient, const AdapterScratch& s, const Rows& dy, float* dx,
                    int64_t dx_stride) {
  const int rank = adapter.rank();
  project(ctx, precision, x, adapter.a, s.adapted, rank);
  scale_rows(ctx, s.adapted, x.count, rank, adapter.scale);
  project_backward(ctx, precision, {s.adapted, rank, x.count, rank}, adapter.b, dy, {s.dadapted, rank}, false,
                   data(gradient.b));
  scale_rows(ctx, s.dadapted, x.count, rank, adapter.scale);
  project_backward(ctx, precision, x, adapter.a, {s.dadapted, rank, x.count, rank}, {dx, dx_stride}, true,
                   data(gradient.a));
}

void merge_adapters(const Context& ctx, const Adapters& adapters, const Weights& weights) {
  for_each_adapter(adapters, [&](int layer, const AdaptedMatrix& matrix, const Adapter& adapter) {
    const Mat& w = weights.layers[static_cast<size_t>(layer)].*matrix.weight;
    std::vector<float> b(adapter.b.f32(), adapter.b.f32() + int64_t{adapter.b.rows} * adapter.b.cols);
    for (float& v : b) v *= adapter.scale;
    const int rank = adapter.rank();
    matmul(ctx, Precision::f32, view(Rows{b.data(), rank, w.rows, rank}), view(adapter.a), data(w), w.cols,
           true);
  });
}

}  // namespace minke

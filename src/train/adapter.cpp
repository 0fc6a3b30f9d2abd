#include "train/adapter.h"

#include <cmath>

#include "base/random.h"
#include "train/parameters.h"

namespace minke {
namespace {

struct Size {
  int out, in;
};

Size size_of(const Config& c, bool query) {
  return {query ? c.heads * c.head_dim : c.kv_heads * c.head_dim, c.dim};
}

// [rows][rank] times scale.
void scale_rows(const Context& ctx, float* x, int rows, int rank, float scale) {
  ctx.pool.for_each(int64_t{rows} * rank, 4096, [&](int64_t begin, int64_t end, int) {
    ctx.kernels.scale(x + begin, scale, static_cast<int>(end - begin));
  });
}

}  // namespace

Adapters::Adapters(const Config& config, const LoraConfig& lora) {
  layers_.resize(static_cast<size_t>(config.layers));
  const auto numbers = [&](bool query) {
    const Size size = size_of(config, query);
    return int64_t{lora.rank} * (size.in + size.out);
  };
  memory_ = Memory(config.layers * (numbers(true) + numbers(false)) * 4, "adapters");
  float* next = memory_.as<float>();
  const auto take = [&](Mat& m, int rows, int cols) {
    m = {reinterpret_cast<const std::byte*>(next), nullptr, Format::f32, rows, cols, int64_t{cols} * 4};
    next += int64_t{rows} * cols;
  };
  for (LayerAdapters& layer : layers_)
    for (const bool query : {true, false}) {
      const Size size = size_of(config, query);
      Adapter& adapter = query ? layer.q : layer.v;
      take(adapter.a, lora.rank, size.in);
      take(adapter.b, size.out, lora.rank);
    }
}

Adapters random_adapters(const Config& config, const LoraConfig& lora, uint64_t seed) {
  Adapters adapters(config, lora);
  Random random(seed);
  for (const LayerAdapters& layer : adapters.layers())
    for (const Adapter* adapter : {&layer.q, &layer.v}) {
      const double bound = 1 / std::sqrt(static_cast<double>(adapter->a.cols));
      for (int64_t i = 0; i < int64_t{adapter->a.rows} * adapter->a.cols; ++i)
        data(adapter->a)[i] = static_cast<float>(bound * (2 * random.uniform() - 1));
    }
  return adapters;
}

void adapt(const Context& ctx, Precision precision, const Rows& x, const Adapter& adapter, float scale,
           float* adapted, float* out, int64_t stride) {
  const int rank = adapter.a.rows;
  project(ctx, precision, x, adapter.a, adapted, rank);
  scale_rows(ctx, adapted, x.count, rank, scale);
  project(ctx, precision, {adapted, rank, x.count, rank}, adapter.b, out, stride, true);
}

void adapt_backward(const Context& ctx, Precision precision, const Rows& x, const Adapter& adapter,
                    const Adapter& gradient, float scale, const AdapterScratch& s, const Rows& dy, float* dx,
                    int64_t dx_stride) {
  const int rank = adapter.a.rows;
  project(ctx, precision, x, adapter.a, s.adapted, rank);
  scale_rows(ctx, s.adapted, x.count, rank, scale);
  project_backward(ctx, precision, {s.adapted, rank, x.count, rank}, adapter.b, dy, {s.dadapted, rank}, false,
                   data(gradient.b));
  scale_rows(ctx, s.dadapted, x.count, rank, scale);
  project_backward(ctx, precision, x, adapter.a, {s.dadapted, rank, x.count, rank}, {dx, dx_stride}, true,
                   data(gradient.a));
}

void merge_adapters(const Context& ctx, const Config& config, const LoraConfig& lora,
                    const Adapters& adapters, const Weights& weights) {
  for (size_t layer = 0; layer < static_cast<size_t>(config.layers); ++layer) {
    const auto merge = [&](const Adapter& adapter, const Mat& w) {
      std::vector<float> b(adapter.b.f32(), adapter.b.f32() + int64_t{adapter.b.rows} * adapter.b.cols);
      for (float& v : b) v *= lora.scale();
      const int rank = adapter.a.rows;
      matmul(ctx, Precision::f32, view(Rows{b.data(), rank, w.rows, rank}), view(adapter.a), data(w), w.cols,
             true);
    };
    merge(adapters.layers()[layer].q, weights.layers[layer].wq);
    merge(adapters.layers()[layer].v, weights.layers[layer].wv);
  }
}

}  // namespace minke

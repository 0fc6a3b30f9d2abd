#include "train/muon.h"

#include <algorithm>
#include <cmath>

namespace minke {
namespace {

constexpr int64_t kGroupNumbers = 4 << 20;  // of the tensors that go through at once, one at least

// The quintic of Jordan and others: singular values between 0 and 1 end near 1.
constexpr int kRounds = 5;
constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;

// A matrix lies so that its rows are the fewer: [few][many].
struct Shape {
  int few, many;
  bool turned;
  int64_t count() const { return int64_t{few} * many; }
  int64_t square() const { return int64_t{few} * few; }
  int64_t space() const { return 2 * count() + 2 * square(); }
};

Shape shape_of(const MatrixSize& m) {
  return {std::min(m.rows, m.cols), std::max(m.rows, m.cols), m.rows > m.cols};
}

// f(first, last) for the groups of tensors that go through at once.
template <typename Sizes, typename F>
void for_each_group(const Sizes& sizes, const F& f) {
  for (size_t first = 0; first < sizes.size();) {
    size_t last = first;
    int64_t numbers = 0;
    do numbers += shape_of(sizes[last++]).count();
    while (last < sizes.size() && numbers + shape_of(sizes[last]).count() <= kGroupNumbers);
    f(first, last);
    first = last;
  }
}

std::vector<MatrixSize> sizes_of(std::span<const TrainedTensor> tensors) {
  std::vector<MatrixSize> sizes;
  sizes.reserve(tensors.size());
  for (const TrainedTensor& t : tensors) sizes.push_back(t.size);
  return sizes;
}

struct Item {
  const TrainedTensor* t;
  Shape shape;
  float *x, *y;  // [few][many]
  float *a, *b;  // [few][few]

  MatrixView view() const { return {x, shape.few, shape.many, shape.many, false}; }
  MatrixView turned() const { return {x, shape.many, shape.few, shape.many, true}; }
  MatrixView square(const float* data) const { return {data, shape.few, shape.few, shape.few, false}; }
};

struct Group {
  const Context& ctx;
  Precision precision;
  const MuonOptions& options;
  std::vector<Item> items;

  template <typename F>
  void each(const F& f) const {
    ctx.pool.for_each(static_cast<int64_t>(items.size()), 1,
                      [&](int64_t i, int64_t, int) { f(items[static_cast<size_t>(i)]); });
  }
  template <typename F>
  void multiply(const F& product_of) const {
    std::vector<MatrixProduct> products;
    products.reserve(items.size());
    for (const Item& item : items) products.push_back(product_of(item));
    matmul(ctx, precision, products);
  }

  // The momentum takes the gradient in; x = gradient + momentum (Nesterov's), of length 1.
  void begin(double factor) const {
    const auto mu = static_cast<float>(options.momentum), scale = static_cast<float>(factor);
    each([&](const Item& item) {
      const TrainedTensor& t = *item.t;
      const auto [few, many, turned] = item.shape;
      double square = 0;
      for (int64_t i = 0; i < t.count; ++i) {
        const float g = t.gradient[i] * scale;
        t.first[i] = mu * t.first[i] + g;
        const float u = g + mu * t.first[i];
        square += double{u} * u;
        // A turned matrix has `few` columns in memory.
        item.x[turned ? i % few * many + i / few : i] = u;
      }
      const auto by = static_cast<float>(1 / (std::sqrt(square) + 1e-7));
      ctx.kernels.scale(item.x, by, static_cast<int>(t.count));
    });
  }

  void iterate() const {
    multiply([](const Item& i) { return MatrixProduct{i.view(), i.turned(), i.a, i.shape.few}; });
    multiply([](const Item& i) { return MatrixProduct{i.square(i.a), i.square(i.a), i.b, i.shape.few}; });
    each([](const Item& i) {
      for (int64_t j = 0; j < i.shape.square(); ++j) i.b[j] = kB * i.a[j] + kC * i.b[j];
    });
    multiply([](const Item& i) { return MatrixProduct{i.square(i.b), i.view(), i.y, i.shape.many}; });
    each([](const Item& i) {
      for (int64_t j = 0; j < i.shape.count(); ++j) i.x[j] = kA * i.x[j] + i.y[j];
    });
  }

  void end(double rate) const {
    each([&](const Item& item) {
      const auto [few, many, turned] = item.shape;
      const auto keep = static_cast<float>(1 - rate * options.decay),
                 by = static_cast<float>(rate * 0.2 * std::sqrt(static_cast<double>(many)));
      float* w = item.t->weight;
      for (int64_t i = 0; i < item.t->count; ++i)
        w[i] = keep * w[i] - by * item.x[turned ? i % few * many + i / few : i];
    });
  }
};

}  // namespace

int64_t muon_bytes(std::span<const MatrixSize> sizes) {
  int64_t most = 0;
  for_each_group(sizes, [&](size_t first, size_t last) {
    int64_t here = 0;
    for (size_t i = first; i < last; ++i) here += shape_of(sizes[i]).space();
    most = std::max(most, here);
  });
  return most * static_cast<int64_t>(sizeof(float));
}

MuonSpace::MuonSpace(std::span<const TrainedTensor> tensors)
    : memory_(muon_bytes(sizes_of(tensors)), "the optimiser's iteration") {}

void muon_step(const Context& ctx, Precision precision, const MuonOptions& options, double rate,
               double factor, std::span<const TrainedTensor> tensors, const MuonSpace& space) {
  for_each_group(sizes_of(tensors), [&](size_t first, size_t last) {
    Group group{ctx, precision, options, {}};
    float* at = space.data();
    for (size_t i = first; i < last; ++i) {
      const Shape shape = shape_of(tensors[i].size);
      Item item{&tensors[i], shape, at, at + shape.count(), nullptr, nullptr};
      item.a = item.y + shape.count();
      item.b = item.a + shape.square();
      at = item.b + shape.square();
      group.items.push_back(item);
    }
    group.begin(factor);
    for (int round = 0; round < kRounds; ++round) group.iterate();
    group.end(rate);
  });
}

}  // namespace minke

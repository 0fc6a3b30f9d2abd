#include "train/muon.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace minke {
namespace {

constexpr int64_t kGroupNumbers = 4 << 20;  // of the tensors that go through at once, one at least

// The quintic of Jordan and others: singular values between 0 and 1 end near 1.
constexpr int kRounds = 5;
constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;

int few(const MatrixSize& m) { return std::min(m.rows, m.cols); }
int64_t square(const MatrixSize& m) { return int64_t{few(m)} * few(m); }
int64_t space_of(const MatrixSize& m) { return 2 * m.count() + 2 * square(m); }

// f(first, last) for the groups of tensors that go through at once.
template <typename Sizes, typename F>
void for_each_group(const Sizes& sizes, const F& f) {
  for (size_t first = 0; first < sizes.size();) {
    size_t last = first;
    int64_t numbers = 0;
    do numbers += sizes[last++].count();
    while (last < sizes.size() && numbers + sizes[last].count() <= kGroupNumbers);
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
  MatrixSize size;
  float *x, *y;  // [rows][cols]
  float *a, *b;  // [few][few]

  bool tall() const { return size.rows > size.cols; }
  MatrixView view() const { return {x, size.rows, size.cols, size.cols, false}; }
  MatrixView turned() const { return {x, size.cols, size.rows, size.cols, true}; }
  MatrixView symmetric(const float* data) const { return {data, few(size), few(size), few(size), false}; }

  // a = X X^T, or X^T X where that is smaller: turned, both give the same.
  MatrixProduct gram() const {
    return {tall() ? turned() : view(), tall() ? view() : turned(), a, few(size)};
  }
  MatrixProduct squared() const { return {symmetric(a), symmetric(a), b, few(size)}; }
  // y = B X, or X B.
  MatrixProduct applied() const {
    return {tall() ? view() : symmetric(b), tall() ? symmetric(b) : view(), y, size.cols};
  }
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
      double length = 0;
      for (int64_t i = 0; i < t.count(); ++i) {
        const float g = t.gradient[i] * scale;
        t.first[i] = mu * t.first[i] + g;
        const float u = g + mu * t.first[i];
        length += double{u} * u;
        item.x[i] = u;
      }
      const auto by = static_cast<float>(1 / (std::sqrt(length) + 1e-7));
      ctx.kernels.scale(item.x, by, static_cast<int>(t.count()));
    });
  }

  void iterate() const {
    multiply([](const Item& i) { return i.gram(); });
    multiply([](const Item& i) { return i.squared(); });
    each([](const Item& i) {
      for (int64_t j = 0; j < square(i.size); ++j) i.b[j] = kB * i.a[j] + kC * i.b[j];
    });
    multiply([](const Item& i) { return i.applied(); });
    each([](const Item& i) {
      for (int64_t j = 0; j < i.size.count(); ++j) i.x[j] = kA * i.x[j] + i.y[j];
    });
  }

  void end(double rate) const {
    each([&](const Item& item) {
      const double many = std::max(item.size.rows, item.size.cols);
      const auto keep = static_cast<float>(1 - rate * options.decay),
                 by = static_cast<float>(rate * 0.2 * std::sqrt(many));
      float* w = item.t->weight;
      for (int64_t i = 0; i < item.size.count(); ++i) w[i] = keep * w[i] - by * item.x[i];
    });
  }
};

}  // namespace

int64_t muon_bytes(std::span<const MatrixSize> sizes) {
  int64_t most = 0;
  for_each_group(sizes, [&](size_t first, size_t last) {
    int64_t here = 0;
    for (size_t i = first; i < last; ++i) here += space_of(sizes[i]);
    most = std::max(most, here);
  });
  return most * static_cast<int64_t>(sizeof(float));
}

int64_t muon_bytes(std::span<const TrainedTensor> tensors) { return muon_bytes(sizes_of(tensors)); }

void muon_step(const Context& ctx, Precision precision, const MuonOptions& options, double rate,
               double factor, std::span<const TrainedTensor> tensors, const Memory& space) {
  for_each_group(sizes_of(tensors), [&](size_t first, size_t last) {
    Group group{ctx, precision, options, {}};
    float* at = space.as<float>();
    const auto take = [&](int64_t numbers) { return std::exchange(at, at + numbers); };
    for (const TrainedTensor& t : tensors.subspan(first, last - first)) {
      const int64_t all = t.count(), part = square(t.size);
      group.items.push_back({&t, t.size, take(all), take(all), take(part), take(part)});
    }
    group.begin(factor);
    for (int round = 0; round < kRounds; ++round) group.iterate();
    group.end(rate);
  });
}

}  // namespace minke

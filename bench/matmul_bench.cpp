// room: ops
// Products of training: their speed as a share of what the multiply units do at most, measured in turn.
//
//   matmul_bench [--threads N] [--isa NAME] [--f32] [SUBSTRING]    shapes whose line contains SUBSTRING
//
// Prints a line for each shape: what is multiplied, GMAC/s, share of the limit (medians of slices).

#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/memory.h"
#include "ops/bench_timing.h"
#include "ops/matmul.h"

namespace {

using namespace minke;

// [rows][depth] times [depth][cols], `count` of them at once.
struct Shape {
  const char* name;
  int rows, depth, cols;
  bool a_transposed, b_transposed, add = false;
  int count = 1;
  bool packed = false;  // the right operand, beforehand
};

constexpr int kTokens = 2048;

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  const auto layer = [&](const char* forward, const char* input, const char* weight, int in, int out) {
    all.push_back({forward, kTokens, in, out, false, true});       // X W^T
    all.push_back({input, kTokens, out, in, false, false});        // dY W
    all.push_back({weight, out, kTokens, in, true, false, true});  // dW += dY^T X
  };
  layer("forward", "d input", "d weight", 768, 768);
  layer("forward", "d input", "d weight", 768, 2048);
  layer("forward", "d input", "d weight", 2048, 768);
  layer("head forward", "head d input", "head d weight", 768, 32000);
  for (const int n : {64, 128, 256, 512}) all.push_back({"square", n, n, n, false, true});
  all.push_back({"attention scores", 512, 64, 512, false, true, false, 48});
  all.push_back({"attention values", 512, 512, 64, false, false, false, 48});
  for (const bool packed : {false, true}) {
    for (const int rows : {16, 64, 128}) {
      all.push_back(
          {packed ? "packed expert up" : "expert up", rows, 256, 1024, false, true, false, 1, packed});
      all.push_back(
          {packed ? "packed expert down" : "expert down", rows, 1024, 256, false, true, false, 1, packed});
    }
    all.push_back(
        {packed ? "packed experts up" : "experts up", 64, 256, 1024, false, true, false, 16, packed});
    all.push_back({packed ? "packed forward" : "forward", kTokens, 768, 768, false, true, false, 1, packed});
  }
  all.push_back({"experts d weight", 1024, 64, 256, true, false, true, 16});
  return all;
}

std::vector<float> numbers(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n));
  uint32_t state = 1;
  for (float& v : x) v = static_cast<float>((state = state * 1664525 + 1013904223) >> 16) * 0x1p-16f - 0.5f;
  return x;
}

void measure(const Context& ctx, Precision precision, const Shape& s) {
  const int64_t a = int64_t{s.rows} * s.depth, b = int64_t{s.depth} * s.cols, o = int64_t{s.rows} * s.cols;
  const auto left = numbers(a * s.count), right = numbers(b * s.count);
  std::vector<float> out(static_cast<size_t>(o * s.count));
  std::vector<MatrixProduct> products;
  std::vector<PackedMatrix> packed(static_cast<size_t>(s.packed ? s.count : 0));
  const int64_t packed_size = packed_bytes(s.depth, s.cols);
  const Memory memory(packed_size * static_cast<int64_t>(packed.size()), "packed operands");
  for (int i = 0; i < s.count; ++i) {
    const MatrixView l{left.data() + a * i, s.rows, s.depth, s.a_transposed ? s.rows : s.depth,
                       s.a_transposed};
    const MatrixView r{right.data() + b * i, s.depth, s.cols, s.b_transposed ? s.depth : s.cols,
                       s.b_transposed};
    products.push_back({l, r, out.data() + o * i, s.cols, s.add});
    if (!s.packed) continue;
    packed[static_cast<size_t>(i)] = pack_here(ctx.kernels, precision, r, memory.data() + i * packed_size);
    products.back().packed = &packed[static_cast<size_t>(i)];
  }
  const double multiplies = static_cast<double>(a) * s.cols * s.count;
  const auto work = [&] { matmul(ctx, precision, products); };
  const auto peak =
      precision == Precision::bf16 && ctx.kernels.spin_bf16 ? ctx.kernels.spin_bf16 : ctx.kernels.spin_f32;
  work();
  const int repeat = static_cast<int>(std::max(1.0, 3e8 / multiplies));
  std::vector<double> rates, shares;
  const double until = now() + 0.6;
  do {
    spin(ctx, peak);
    const double limit = spin(ctx, peak), start = now();
    for (int i = 0; i < repeat; ++i) work();
    rates.push_back(multiplies * repeat / (now() - start));
    shares.push_back(rates.back() / limit);
  } while (now() < until || rates.size() < 5);
  fmt::print("{:<18} {:>5} x {:>5} x {:>5}  x {:<2} {:7.1f} GMAC/s  {:.3f}\n", s.name, s.rows, s.depth,
             s.cols, s.count, median(rates) / 1e9, median(shares));
}

}  // namespace

int main(int argc, char** argv) try {
  MachineFlags machine;
  Precision precision = Precision::bf16;
  std::string_view only;
  for (int i = 1; i < argc; ++i) {
    if (machine.take(argc, argv, i)) continue;
    const std::string_view arg = argv[i];
    if (arg == "--f32")
      precision = Precision::f32;
    else
      only = arg;
  }
  if (machine.threads == 1) timer = CLOCK_PROCESS_CPUTIME_ID;
  ThreadPool pool(machine.threads);
  const Context ctx{pool, kernels_for(machine.isa), Comm{}};
  for (const Shape& s : shapes())
    if (fmt::format("{} {}x{}x{}", s.name, s.rows, s.depth, s.cols).find(only) != std::string::npos)
      measure(ctx, precision, s);
  return 0;
} catch (const Error& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}

// room: ops
// Products of a few tokens with weights straight out of memory, as a step of several answers at once makes
// them.
//
//   batch_bench [--threads N] [--isa NAME] [FORMAT ...]    q4_k and q6_k where none is named
//
// Prints for each format and number of tokens: the time of a pass over the weights as a multiple of what one
// token's takes, and the share of the int8 limit (medians of passes that take turns).

#include <algorithm>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/memory.h"
#include "kernels/test_data.h"
#include "ops/context.h"

namespace {

using namespace minke;

constexpr int kRows = 8960, kCols = 1536, kMatrices = 48;  // more than any cache holds
constexpr int kTokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16};

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

struct Passes {
  int tokens;
  Memory operand;
  std::vector<double> times, shares;
};

double spin(const Context& ctx) {
  constexpr int64_t kRounds = 400000;  // about a millisecond
  const double start = now();
  ctx.pool.run([&](int) { ctx.kernels.spin_int8(kRounds); });
  return static_cast<double>(kRounds * ctx.kernels.spin_int8(1) * ctx.pool.size()) / (now() - start);
}

void measure(const Context& ctx, Format format) {
  Random random(1);
  const OwnedMat one = random_mat(random, format, kRows, kCols);
  const Memory copies(kMatrices * one.mat.bytes(), "weights");
  std::vector<Mat> weights(kMatrices, one.mat);
  for (int i = 0; i < kMatrices; ++i) {
    std::byte* at = copies.data() + i * one.mat.bytes();
    std::copy(one.bytes.begin(), one.bytes.end(), at);
    weights[static_cast<size_t>(i)].data = at;
  }
  const Grain grain = grain_for(format);
  std::vector<Passes> all;
  for (const int tokens : kTokens) {
    all.push_back({tokens, Memory(operand_bytes(grain, tokens, kCols), "activations"), {}, {}});
    const auto x = random_floats(random, int64_t{tokens} * kCols);
    ctx.kernels.prepare(grain, x.data(), kCols, tokens, kCols, 0, tokens, all.back().operand.data());
  }
  const int64_t scratch_bytes = (gemm_scratch_bytes(kTokens[std::size(kTokens) - 1]) + 63) / 64 * 64;
  const Memory scratch(scratch_bytes * ctx.pool.size(), "scratch");
  const Memory out(int64_t{kRows} * kTokens[std::size(kTokens) - 1] * 4, "products");

  const auto pass = [&](const Passes& p, const Mat& w) {
    const Operand x{p.operand.data(), grain, p.tokens, kCols};
    constexpr int kStep = kPanel * kMaxPanels;
    ctx.pool.for_each(kRows / kStep, 1, [&](int64_t claim, int64_t, int thread) {
      const int first = static_cast<int>(claim) * kStep;
      ctx.kernels.multiply(w, first, kStep, x, out.as<float>() + first, kRows, false,
                           scratch.data() + scratch_bytes * thread);
    });
  };
  constexpr int kSlice = 4;  // matrices between two probes
  for (int round = 0; round < 5; ++round)
    for (int i = 0; i + kSlice <= kMatrices; i += kSlice)
      for (Passes& p : all) {
        const double limit = spin(ctx), start = now();
        for (int j = 0; j < kSlice; ++j)
          pass(p, weights[static_cast<size_t>((i + j * 7 + p.tokens) % kMatrices)]);
        p.times.push_back(now() - start);
        p.shares.push_back(double{kSlice} * kRows * kCols * p.tokens / p.times.back() / limit);
      }
  for (const Passes& p : all)
    fmt::print("{:<8} {:>2} tokens  x {:5.2f}  {:6.2f} GB/s  {:.3f} of int8\n", info(format).name, p.tokens,
               median(p.times) / median(all[0].times),
               static_cast<double>(kSlice * one.mat.bytes()) / median(p.times) / 1e9, median(p.shares));
}

}  // namespace

int main(int argc, char** argv) try {
  int threads = usable_cores();
  Isa isa = supported_isas().back();
  std::vector<Format> formats;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--threads" && i + 1 < argc)
      threads = std::stoi(argv[++i]);
    else if (arg == "--isa" && i + 1 < argc)
      isa = isa_by_name(argv[++i]).value_or(isa);
    else if (const auto format = format_by_name(arg))
      formats.push_back(*format);
    else
      throw Error(fmt::format("no format is called '{}'", arg));
  }
  if (formats.empty()) formats = {Format::q4_k, Format::q6_k};
  ThreadPool pool(threads);
  const Context ctx{pool, kernels_for(isa), Comm{}};
  for (const Format format : formats) measure(ctx, format);
  return 0;
} catch (const Error& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}

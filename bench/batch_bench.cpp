// room: ops
// Products of a few tokens with weights straight out of memory, as a step of several answers at once makes
// them.
//
//   batch_bench [--threads N] [--isa NAME] [--tokens N ...] [FORMAT ...]
//
// q4_k and q6_k where no format is named; 1 to 16 tokens where no number is (--tokens 48 --tokens 512).
//
// Prints for each format and number of tokens: the time of a pass over the weights as a multiple of what one
// token's takes, and the share of the int8 limit (medians of passes that take turns); where the format can be
// interleaved (--repack), of such weights as well.

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/memory.h"
#include "kernels/test_data.h"
#include "ops/bench_timing.h"
#include "quant/interleave.h"

namespace {

using namespace minke;

constexpr int kRows = 8960, kCols = 1536, kMatrices = 48;  // more than any cache holds

struct Passes {
  int tokens;
  bool interleaved;
  Memory operand;
  std::vector<double> times, shares;
};

void measure(const Context& ctx, Format format, const std::vector<int>& counts) {
  Random random(1);
  const OwnedMat one = random_mat(random, format, kRows, kCols);
  const bool both = can_interleave(one.mat);
  const Memory copies((both ? 2 : 1) * kMatrices * one.mat.bytes(), "weights");
  std::vector<Mat> weights[2];  // as filed, interleaved
  std::vector<std::byte> group(static_cast<size_t>(kPanel * one.mat.row_bytes));
  for (int i = 0; i < (both ? 2 : 1) * kMatrices; ++i) {
    Mat m = one.mat;
    std::byte* at = copies.data() + i * m.bytes();
    std::copy(one.bytes.begin(), one.bytes.end(), at);
    m.data = at;
    m.interleaved = i >= kMatrices;
    if (m.interleaved)
      for (int r = 0; r < kRows; r += kPanel) interleave_group(m, at + r * m.row_bytes, group.data());
    weights[m.interleaved].push_back(m);
  }
  const Grain grain = grain_for(format);
  std::vector<Passes> all;
  for (const bool interleaved : {false, true}) {
    if (interleaved && !both) break;
    for (const int tokens : counts) {
      all.push_back(
          {tokens, interleaved, Memory(operand_bytes(grain, tokens, kCols), "activations"), {}, {}});
      const auto x = random_floats(random, int64_t{tokens} * kCols);
      ctx.kernels.prepare(grain, x.data(), kCols, tokens, kCols, {0, tokens}, all.back().operand.data());
    }
  }
  const int most = *std::ranges::max_element(counts);
  const int64_t scratch_bytes = (gemm_scratch_bytes(most) + 63) / 64 * 64;
  const Memory scratch(scratch_bytes * ctx.pool.size(), "scratch");
  const Memory out(int64_t{kRows} * most * 4, "products");

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
        const double limit = spin(ctx, ctx.kernels.spin_int8), start = now();
        for (int j = 0; j < kSlice; ++j)
          pass(p, weights[p.interleaved][static_cast<size_t>((i + j * 7 + p.tokens) % kMatrices)]);
        p.times.push_back(now() - start);
        p.shares.push_back(double{kSlice} * kRows * kCols * p.tokens / p.times.back() / limit);
      }
  for (const Passes& p : all)
    fmt::print("{:<8} {:>2} tokens{}  x {:5.2f}  {:6.2f} GB/s  {:.3f} of int8\n", info(format).name, p.tokens,
               p.interleaved ? ", interleaved" : "", median(p.times) / median(all[0].times),
               static_cast<double>(kSlice * one.mat.bytes()) / median(p.times) / 1e9, median(p.shares));
}

}  // namespace

int main(int argc, char** argv) try {
  MachineFlags machine;
  std::vector<Format> formats;
  std::vector<int> counts;
  for (int i = 1; i < argc; ++i) {
    if (machine.take(argc, argv, i)) continue;
    if (std::string_view(argv[i]) == "--tokens" && i + 1 < argc) {
      counts.push_back(std::atoi(argv[++i]));
      if (counts.back() < 1) throw Error(fmt::format("--tokens {}: a number of tokens is needed", argv[i]));
      continue;
    }
    const auto format = format_by_name(argv[i]);
    if (!format) throw Error(fmt::format("no format is called '{}'", argv[i]));
    formats.push_back(*format);
  }
  if (counts.empty()) counts = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16};
  if (formats.empty()) formats = {Format::q4_k, Format::q6_k};
  ThreadPool pool(machine.threads);
  const Context ctx{pool, kernels_for(machine.isa), Comm{}};
  for (const Format format : formats) measure(ctx, format, counts);
  return 0;
} catch (const Error& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}

#include "ops/probe.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace minke {
namespace {

constexpr int64_t kSlice = 64 << 20;  // bytes of a reading slice
constexpr int64_t kRounds = 300'000;  // of a slice of multiplying, a millisecond or so
constexpr int kStreams[] = {1, 2, 4, 8, 16};
constexpr int64_t kAhead[] = {0, 1024, 4096};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

double spin_rate(const Context& ctx, int64_t (*spin)(int64_t), int64_t rounds) {
  // At first a processor may run wide multiplications at a fraction of its speed, until its voltage has
  // risen.
  ctx.pool.run([&](int) { spin(rounds / 2); });
  const double start = now();
  ctx.pool.run([&](int) { spin(rounds); });
  return static_cast<double>(spin(0) + rounds * (spin(1) - spin(0)) * ctx.pool.size()) / (now() - start);
}

Probe::Probe(const Context& ctx, int64_t bytes) : ctx_(ctx), memory_(bytes, "the memory probe") {
  ctx_.pool.for_each(bytes, 2 << 20, [&](int64_t begin, int64_t end, int) {  // real pages, not the zero page
    std::memset(memory_.data() + begin, 1, static_cast<size_t>(end - begin));
  });
}

double Probe::read_once(int streams, int64_t ahead) {
  if (next_ + kSlice > memory_.size()) next_ = 0;
  const std::byte* data = memory_.data() + next_;
  next_ += kSlice;
  const int64_t each = kSlice / ctx_.pool.size() / 4096 * 4096;
  const double start = now();
  ctx_.pool.run([&](int thread) { ctx_.kernels.read(data + thread * each, each, streams, ahead); });
  return static_cast<double>(each * ctx_.pool.size()) / (now() - start);
}

Limit Probe::slice() {
  if (streams_ == 0) {
    double best = 0;
    for (int repeat = 0; repeat < 3; ++repeat) {
      for (const int streams : kStreams) {
        for (const int64_t ahead : kAhead) {
          const double rate = read_once(streams, ahead);
          if (rate <= best) continue;
          best = rate;
          streams_ = streams;
          ahead_ = ahead;
        }
      }
    }
  }
  const Kernels& k = ctx_.kernels;
  return {read_once(streams_, ahead_), spin_rate(ctx_, k.spin_int8, kRounds),
          spin_rate(ctx_, k.spin_bf16 ? k.spin_bf16 : k.spin_f32, kRounds),
          spin_rate(ctx_, k.spin_f32, kRounds)};
}

}  // namespace minke

// room: engine
// What a draft costs: steps of one and of several rows, and passes of the MTP layer, in turns over one model.
//
//   draft_bench MODEL.gguf [DEPTH [ROUNDS]]      tokens in the cache before (256), rounds (15)

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "engine/draft.h"
#include "model/instance.h"
#include "ops/bench_timing.h"

namespace {

using namespace minke;

constexpr int kRows[] = {1, 2, 3, 4, 6, 8};

class Bench {
 public:
  Bench(const Model& model, int depth) : instance_(model, options(depth)), depth_(depth) {
    if (!instance_.kv().reserve(view_, depth + 64)) throw Error("does not fit the context");
    while (view_.length < depth) step(std::min(64, depth - view_.length), Want::nothing);
    hidden_.assign(static_cast<size_t>(instance_.config().dim), 0.5f);
  }

  // Seconds of a step of new tokens at `depth`, whose rows all come out as logits.
  double step(int rows, Want want) {
    std::vector<Token> tokens(static_cast<size_t>(rows));
    for (Token& t : tokens) t = token();
    const SequenceSlice slice{&view_, 0, rows, view_.length, want};
    const double seconds = timed([&] { instance_.forward({tokens, {&slice, 1}, {}, true}); });
    if (view_.length > depth_) view_.length = depth_;
    return seconds;
  }

  double mtp(int rows, Want want) {
    std::vector<Token> tokens(static_cast<size_t>(rows));
    std::vector<GivenRow> given;
    for (int r = 0; r < rows; ++r) {
      tokens[static_cast<size_t>(r)] = token();
      for (float& h : hidden_) h = random_.normal();
      given.push_back({r, hidden_.data()});
    }
    const SequenceSlice slice{&view_, 0, rows, depth_, want};
    return timed([&] { instance_.forward_mtp({tokens, {&slice, 1}, given}); });
  }
  bool has_mtp() const { return instance_.config().mtp_layers > 0; }

 private:
  static InstanceOptions options(int depth) {
    InstanceOptions o;
    o.limits.rows = 64;
    o.limits.context = depth + 64;
    o.limits.logit_rows = 64;
    o.limits.threads = 0;
    o.limits.mtp = true;
    return o;
  }
  Token token() { return static_cast<Token>(random_.below(static_cast<uint64_t>(instance_.config().vocab))); }
  template <typename F>
  static double timed(F&& f) {
    const auto start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Instance instance_;
  int depth_;
  KvView view_;
  std::vector<float> hidden_;
  Random random_{1};
};

void measure(const char* path, int depth, int rounds) {
  const Model model = load_model(path);
  Bench bench(model, depth);
  std::vector<double> steps[std::size(kRows)], pass, follow;
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    for (size_t i = 0; i < std::size(kRows); ++i) {
      const double seconds = bench.step(kRows[i], Want::all_logits);
      if (round >= 0) steps[i].push_back(seconds);
    }
    if (!bench.has_mtp()) continue;
    const double with_head = bench.mtp(1, Want::last_logits), without = bench.mtp(1, Want::nothing);
    if (round < 0) continue;
    pass.push_back(with_head);
    follow.push_back(without);
  }
  const double one = median(steps[0]);
  const DraftCost cost = draft_cost(model);
  std::printf("a step of one row at %d tokens: %.2f ms\n", depth, one * 1e3);
  for (size_t i = 1; i < std::size(kRows); ++i) {
    std::printf("%d rows: x %.2f (taken for %.2f)\n", kRows[i], median(steps[i]) / one, cost.step(kRows[i]));
  }
  if (pass.empty()) return;
  std::printf("MTP pass: %.2f (taken for %.2f); without head %.2f\n", median(pass) / one, cost.pass,
              median(follow) / one);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: %s MODEL.gguf [DEPTH [ROUNDS]]\n", argv[0]);
    return 2;
  }
  const int depth = argc > 2 ? std::atoi(argv[2]) : 256, rounds = argc > 3 ? std::atoi(argv[3]) : 15;
  if (depth < 1 || rounds < 1) throw minke::Error("depth and rounds are numbers above 0");
  measure(argv[1], depth, rounds);
} catch (const minke::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

// room: engine
// pages_bench MODEL [PROMPT] [STEPS]: decode and prefill with the same file mapped twice, on small pages and
// on huge ones. Steps of both are taken in turn, so that a machine whose speed changes changes both.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "base/error.h"
#include "model/instance.h"
#include "model/placement.h"
#include "ops/bench_timing.h"

namespace minke {
namespace {

using Clock = std::chrono::steady_clock;

struct Side {
  Model model;
  Instance instance;
  KvView view;
  std::vector<double> decode, prefill;

  Side(const fs::path& path, HugePages pages, const InstanceOptions& o)
      : model(load(path, pages)), instance(model, o) {
    instance.kv().reserve(view, o.limits.context);
  }

  static Model load(const fs::path& path, HugePages pages) {
    LoadOptions options;
    options.huge_pages = pages;
    Model model = load_model(path, options);
    PlacementOptions place;
    place.huge_pages = pages;
    for (const std::string& note : place_weights(model, place)) fmt::print("{}\n", note);
    return model;
  }

  double step(int tokens) {
    std::vector<Token> batch(static_cast<size_t>(tokens));
    for (int i = 0; i < tokens; ++i) batch[static_cast<size_t>(i)] = 500 + (view.length + i) * 7919 % 20000;
    const SequenceSlice slice{&view, 0, tokens, view.length, Want::last_logits};
    const auto start = Clock::now();
    instance.forward({batch, {&slice, 1}, {}});
    return std::chrono::duration<double>(Clock::now() - start).count();
  }
};

void run(const fs::path& path, int prompt, int steps) {
  InstanceOptions o;
  o.limits.rows = prompt;
  o.limits.context = prompt + steps + 64;
  Side huge(path, HugePages::on, o), small(path, HugePages::off, o);
  Side* sides[] = {&small, &huge};
  for (int i = 0; i < steps; ++i) {
    for (Side* side : {sides[i % 2], sides[(i + 1) % 2]}) {
      if (i % 16 == 0) {
        side->instance.kv().truncate(side->view, 0);
        side->instance.kv().reserve(side->view, o.limits.context);
        side->prefill.push_back(side->step(prompt));
      }
      side->step(1);  // what the other side left in the caches goes
      side->decode.push_back(side->step(1));
    }
  }
  std::vector<double> decode, prefill;
  for (size_t i = 0; i < small.decode.size(); ++i) decode.push_back(small.decode[i] / huge.decode[i]);
  for (size_t i = 0; i < small.prefill.size(); ++i) prefill.push_back(small.prefill[i] / huge.prefill[i]);
  fmt::print("small: weights {}\nhuge:  weights {}\n", residence_text(small.model),
             residence_text(huge.model));
  fmt::print("decode   small {:.2f} tok/s, huge {:.2f}; x {:.3f}\n", 1 / median(small.decode),
             1 / median(huge.decode), median(decode));
  fmt::print("prefill  small {:.2f} tok/s, huge {:.2f}; x {:.3f}\n", prompt / median(small.prefill),
             prompt / median(huge.prefill), median(prefill));
}

}  // namespace
}  // namespace minke

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: pages_bench MODEL [PROMPT] [STEPS]\n", stderr);
    return 2;
  }
  try {
    minke::run(argv[1], argc > 2 ? std::atoi(argv[2]) : 512, argc > 3 ? std::atoi(argv[3]) : 128);
  } catch (const minke::Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}

#pragma once
// For tests: small models of every architecture with random shapes.

#include <cmath>

#include "base/random.h"
#include "model/config.h"

namespace minke {

inline constexpr const char* kArchitectureNames[] = {"llama",       "qwen2",       "llama4",
                                                     "deepseek_v2", "deepseek_v3", "deepseek_v32"};

inline int between(Random& random, int least, int most) {
  return least + static_cast<int>(random.below(static_cast<uint64_t>(most - least + 1)));
}

inline void random_experts(Random& random, Config& c) {
  MoeConfig m;
  RouterConfig& r = m.router;
  m.inter = 32 * between(random, 1, 4);
  if (c.arch == "llama4") {
    r.experts = between(random, 2, 6);
    r.active = 1;
    r.score = RouterScore::sigmoid;
    m.shared_inter = m.inter;
    m.step = between(random, 1, 2);
    m.scale_input = true;
  } else {
    r.groups = c.arch == "deepseek_v2" ? 1 : 1 << between(random, 0, 2);
    const int size = between(random, 2, 6);
    r.experts = r.groups * size;
    r.kept_groups = between(random, 1, r.groups);
    r.active = between(random, 1, std::min(4, r.kept_groups * size));
    m.shared_inter = m.inter * between(random, 0, 2);
    m.first = between(random, 0, 1);
    if (c.arch != "deepseek_v2") {
      r.score = RouterScore::sigmoid;
      r.group_score = GroupScore::top2_sum;
      r.normalise = true;
      r.scale = 2.5f;
      m.router_bias = true;
    }
  }
  c.moe = m;
}

inline Config random_config(Random& random, std::string_view arch) {
  Config c;
  c.arch = arch;
  c.vocab = between(random, 40, 300);
  // Some multiples of 256 among them, and some widths that fill no block.
  c.dim = random.below(4) ? 32 * between(random, 1, 9) : between(random, 5, 200);
  c.layers = between(random, 2, 3);
  c.context = 4096;
  c.inter = 32 * between(random, 1, 9);
  c.heads = between(random, 1, 6);
  c.tied = random.below(2);
  c.rope.theta = 10000;
  int width;
  if (c.arch.starts_with("deepseek")) {
    MlaConfig m;
    m.q_lora = c.arch == "deepseek_v2" && random.below(2) ? 0 : 32 * between(random, 1, 3);
    m.kv_lora = random.below(2) ? 32 * between(random, 1, 3) : between(random, 3, 90);
    m.nope = random.below(2) ? 32 : between(random, 1, 40);
    m.rope = 2 * between(random, 1, 12);
    m.v = random.below(2) ? 32 : between(random, 1, 40);
    width = m.nope + m.rope;
    c.mla = m;
    c.rope.dims = m.rope;
    c.mtp_layers = c.arch == "deepseek_v2" ? 0 : between(random, 0, 1);
    if (c.arch == "deepseek_v32")
      c.indexer =
          IndexerConfig{between(random, 1, 6), m.rope + between(random, 0, 20), between(random, 4, 40)};
    random_experts(random, c);
  } else {
    c.kv_heads = between(random, 1, 3);
    c.heads = c.kv_heads * between(random, 1, 3);
    width = c.head_dim = c.rope.dims = 2 * between(random, 4, 20);
    c.rope.half = c.arch == "qwen2" || (c.arch == "llama" && random.below(2));
    c.qkv_bias = c.arch == "qwen2";
    if (c.arch == "llama4") {
      random_experts(random, c);
      for (int i = 0; i < c.layers; ++i) c.rope_layers.push_back(random.below(3) > 0);
      c.chunk = between(random, 3, 40);
      c.qk_norm = random.below(2);
      c.temperature_floor = static_cast<float>(between(random, 4, 30));
      c.temperature_scale = 0.1f;
    }
  }
  c.attention_scale = 1 / std::sqrt(static_cast<float>(width));
  validate(c, Container::hugging_face, "random");
  return c;
}

}  // namespace minke

#include "plan/counts.h"

#include <algorithm>

#include "model/weights.h"

namespace minke {

Counts count(const Config& config) {
  Counts c;
  for_each_weight(config, [&](const WeightSlot& slot) {
    const int64_t n = slot.count();
    const bool routed = slot.expert >= 0;
    // Of E experts K are used: each counts as its share, summed exactly below.
    if (slot.layer >= config.layers) {
      c.mtp += n;
      if (!routed || slot.expert < config.moe->router.active) c.mtp_active += n;
      return;
    }
    c.total += n;
    if (slot.role == Role::embed) c.embedding = n;
    if (slot.role == Role::head) c.head = n;
    if (routed) c.experts += n;
    if (routed && slot.expert < config.moe->router.active) c.experts_active += n;
  });
  c.active = c.total - c.experts + c.experts_active;
  return c;
}

int64_t weight_bytes(const Config& config, Format format) {
  int64_t bytes = 0;
  for_each_weight(config, [&](const WeightSlot& slot) {
    if (slot.layer >= config.layers) return;
    Format f = format;
    const bool lookup = slot.role == Role::embed || slot.role == Role::head;
    if (slot.vector || slot.role == Role::router)
      f = Format::f32;
    else if (slot.cols % info(format).block != 0 || (format == Format::f8_e4m3 && lookup))
      f = Format::bf16;
    bytes += row_bytes(f, slot.cols) * slot.rows;
    if (f == Format::f8_e4m3) bytes += int64_t{4} * ((slot.rows + 127) / 128) * ((slot.cols + 127) / 128);
  });
  return bytes;
}

int64_t attention_multiplies(const Config& c, int64_t visible) {
  if (!c.mla) return int64_t{c.heads} * 2 * c.head_dim * visible;
  const int64_t attended = c.indexer ? std::min<int64_t>(visible, c.indexer->topk) : visible;
  const int64_t mla = int64_t{c.heads} * (2 * c.mla->kv_lora + c.mla->rope) * attended;
  return mla + (c.indexer ? int64_t{c.indexer->heads} * c.indexer->width * visible : 0);
}

}  // namespace minke

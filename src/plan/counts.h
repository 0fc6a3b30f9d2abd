#pragma once
// How large a model is, from its config alone.

#include <cstdint>

#include "model/config.h"
#include "quant/format.h"

namespace minke {

// Parameters. MTP layers are counted apart, by the weights that are theirs alone.
struct Counts {
  int64_t total = 0;
  int64_t active = 0;               // used for one token: every weight but the experts not chosen
  int64_t embedding = 0, head = 0;  // head 0 where tied
  int64_t experts = 0;              // routed, all layers
  int64_t experts_active = 0;
  int64_t mtp = 0, mtp_active = 0;
  int64_t active_without_embedding() const { return active - embedding; }
};
Counts count(const Config& config);

// Bytes of the main model with every matrix in one format: vectors and routers F32, and F8_E4M3 with its
// scales, embedding and head then BF16. Matrices whose rows do not fill the format's blocks stay BF16.
int64_t weight_bytes(const Config& config, Format format);

// Multiply-adds of attention, per token and layer, over s visible keys; the indexer's included.
int64_t attention_multiplies(const Config& config, int64_t visible);

}  // namespace minke

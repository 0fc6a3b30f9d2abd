#pragma once
// How fast a model runs here, beside what the machine can do.

#include <cstdint>
#include <functional>
#include <vector>

#include "model/instance.h"
#include "ops/probe.h"

namespace minke {

struct MeasureOptions {
  int prompt = 512, decode = 64;
  std::vector<int> depths = {0};  // tokens in the cache of each sequence before anything is timed
  int sequences = 1;              // decoded at once; the prompt is one's
  // Of a depth's tokens these are computed; copies of their rows fill the rest of the cache. What stands in
  // the cache costs the same wherever it came from, and the depth is there at once.
  int computed = 1 << 30;
  int repeats = 3;
};

// One depth. Rates are medians over the repeats; each repeat is taken between two slices of the probe.
struct Measured {
  int depth = 0;
  double prefill_rate = 0, decode_rate = 0;  // tokens a second, of all sequences together
  // A second, of prefill_multiplies: active weights without embedding and head, and attention.
  double prefill_multiplies = 0;
  double decode_bytes = 0;  // a second: weights read once a step, and cache rows
  // Of the probe's int8 multiplies (f32 where weights are floats), and of its read rate.
  double prefill_share = 0, decode_share = 0;
  Limit limit;  // medians of the probes taken beside
};

// progress(what) before each repeat.
std::vector<Measured> measure(Instance& instance, const MeasureOptions& options,
                              const std::function<void(const char*)>& progress = {});

// Bytes a decode step must read: weights, each once, of experts as many as `sequences` tokens choose where
// all are as likely; and of each sequence the cache rows of `depth` tokens.
int64_t decode_bytes(const Model& model, const KvFormats& kv, int depth, int sequences);
// Multiply-adds of a prompt token that sees `visible` keys, one of many of which only the last comes out.
int64_t prefill_multiplies(const Config& config, int64_t visible);

}  // namespace minke

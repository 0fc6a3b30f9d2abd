#pragma once
// The one forward pass: prefill, decode, scoring and speculation are batches of it.

#include "model/batch.h"
#include "model/state.h"
#include "model/weights.h"
#include "ops/tap.h"

namespace minke {

// Runs the batch through the model. Cache rows of its tokens are written, each slice's view is as long as its
// last position then. Rows that come out are, slice after slice, in state.output; the first of them that were
// wanted as logits in state.logits, in the same order. Throws nothing of its own; sizes beyond state.limits
// are the caller's mistake.
void forward(const Context& ctx, const Config& config, const Weights& weights, State& state,
             const Batch& batch, Tap* tap = nullptr);

// The first MTP layer: row t's token is the one after position t, its given row the final hidden state of
// position t; logits predict the token after that. Writes the cache rows of layer config.layers; views keep
// their length.
void forward_mtp(const Context& ctx, const Config& config, const Weights& weights, State& state,
                 const Batch& batch, Tap* tap = nullptr);

// logits [count][vocab] of `count` final hidden states, for rows that came out as hidden.
void head(const Context& ctx, const Weights& weights, State& state, const float* hidden, int count,
          float* logits);

}  // namespace minke

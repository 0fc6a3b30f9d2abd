#pragma once
// What one step computes: any mix of prompt pieces and single tokens of any sequences.

#include <span>

#include "kv/layout.h"
#include "text/token.h"

namespace minke {

// Which of a slice's rows come out, and as what.
enum class Want : uint8_t {
  nothing,
  last_logits,  // logits of the last row
  all_logits,   // of every row
  all_hidden,   // the final normalised hidden state of every row
};

// Rows [first, first + count) of the batch: tokens of one sequence at positions [position, position + count).
// Earlier positions are read from its pages, which must hold room for these as well.
struct SequenceSlice {
  KvView* kv;
  int first, count, position;
  Want want = Want::nothing;
  // Tokens [0, given) of the sequence were handed in, not generated; latent attention may take another form
  // for them (ops/decompress.h).
  int given = 0;
};

// A row whose input is handed in: for MTP the main model's final hidden state [dim] of the position.
struct GivenRow {
  int row;
  const float* hidden;
};

struct Batch {
  std::span<const Token> tokens;  // [n]
  std::span<const SequenceSlice> sequences;
  std::span<const GivenRow> given;  // forward_mtp: one for every row, in order; else empty
  bool keep_hidden = false;         // the final hidden state of every row stays in state.normed [n][D]
};

}  // namespace minke

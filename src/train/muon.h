#pragma once
// Muon (Jordan and others, 2024): a matrix moves along its momentum made orthogonal, by five steps of a
// Newton-Schulz iteration. Scaled to the length of AdamW's steps (Liu and others, "Muon is scalable for LLM
// training", 2025), so that both take the same rate and decay.

#include <span>

#include "base/memory.h"
#include "ops/matmul.h"
#include "train/optimizer.h"

namespace minke {

struct MuonOptions {
  double momentum = 0.95;
  double decay = 0.1;
};

// Of the memory that the iteration needs: tensors go through it a few at a time.
int64_t muon_bytes(std::span<const MatrixSize> sizes);
int64_t muon_bytes(std::span<const TrainedTensor> tensors);

// One step of all tensors, which are matrices; `first` holds the momentum. Gradients times `factor`. space:
// muon_bytes(tensors) at least.
void muon_step(const Context& ctx, Precision precision, const MuonOptions& options, double rate,
               double factor, std::span<const TrainedTensor> tensors, const Memory& space);

}  // namespace minke

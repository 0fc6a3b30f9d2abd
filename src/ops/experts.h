#pragma once
// Mixture of experts: tokens sorted by expert, each expert a gated MLP over its tokens (MODEL.md 2.8).

#include <span>
#include <vector>

#include "ops/context.h"
#include "ops/linear.h"
#include "ops/workspace.h"

namespace minke {

// One expert's matrices.
struct Expert {
  Mat gate, up;  // [inter][dim]
  Mat down;      // [dim][inter]
};

// Where experts come from. Those that lie in mapped files are there at once; others may have to be brought.
class ExpertSource {
 public:
  virtual ~ExpertSource() = default;
  // These will be asked for; called once a layer, on the thread that runs the step. Throws Error where they
  // cannot be had.
  virtual void want(int layer, std::span<const int32_t> experts) = 0;
  virtual const Expert& get(int layer, int expert) = 0;  // any thread, valid until done; throws nothing
  virtual void done(int layer) = 0;
};

// Slots by expert: order[t * active + k] is the slot of token t's k-th choice, ids [tokens][active]; starts
// [experts + 1]: each expert's first.
void sort_by_expert(std::span<const int32_t> ids, int experts, int32_t* order, int32_t* starts);

// Memory a call needs, for at most slots = tokens * active rows.
struct ExpertSpace {
  float* gate;      // [slots][inter]
  float* up;        // [slots][inter]
  int32_t* order;   // [slots]: slot of each (token, choice)
  int32_t* tokens;  // [slots]: token of each slot
  float* factors;   // [slots]: weight of each
  int32_t* starts;  // [experts + 1]: first slot of each expert
  int32_t* used;    // [experts]: those that have slots, in ascending order
};

struct ExpertBatch {
  int layer, experts, active, dim, inter;
  Rows x;                    // [tokens][dim]
  const int32_t* ids;        // [tokens][active]
  const float* weights;      // [tokens][active]
  bool scale_input = false;  // the weight multiplies the expert's input and not its output (Llama 4)
};

// out[t] += sum over the chosen of weight * expert(x[t]), in the order of experts; out row t at out + t *
// dim.
void run_experts(const Context& ctx, const Workspace& work, ExpertSource& source, const ExpertBatch& batch,
                 const ExpertSpace& space, float* out);

// What the workspace's operands need for so many rows; wide: f32 operands are possible.
int64_t expert_operand_bytes(int64_t rows, int active, int dim, int inter, bool wide);

}  // namespace minke

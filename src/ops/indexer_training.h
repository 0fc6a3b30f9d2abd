#pragma once
// The lightning indexer in training (MODEL.md 2.6 and 6.4): its scores over whole documents, what it chooses,
// the loss it learns by, and the way back. Its input is detached from the rest of the model.

#include <span>

#include "ops/document_attention.h"

namespace minke {

// q [rows][heads][width] and k [rows][width] after rotation, w [rows][heads] scaled.
struct IndexerRows {
  int heads, width;
  const float *q, *k, *w;
  std::span<const Document> documents;
};

// scores[r * stride + s] = sum over heads of w[r][h] relu(q[r][h] . k[s]) for positions s of r's document up
// to its own.
void index_scores(const Context& ctx, const Workspace& work, const IndexerRows& rows, float* scores,
                  int64_t stride);

// The `most` best positions of each row, as choose_positions gives them: counts[r] = -1 where it sees no
// more.
void choose_positions(const Context& ctx, const Workspace& work, std::span<const Document> documents,
                      const float* scores, int64_t stride, int most, int32_t* chosen, int32_t* counts);

// Sum over rows of KL(target || softmax(scores)) in nats, both over what the row sees: all up to itself, or
// what was selected. target is `mass` divided by its sum there; scores become their gradients times `scale`,
// 0 outside. Dense warm-up: no selection; sparse stage: the one that attention used.
double indexer_loss(const Context& ctx, std::span<const Document> documents, const Selection* selection,
                    const float* mass, float* scores, int64_t stride, float scale);

// dq, dk, dw = their gradients, where dscores is that of index_scores.
void index_scores_backward(const Context& ctx, const Workspace& work, const IndexerRows& rows,
                           const float* dscores, int64_t stride, float* dq, float* dk, float* dw);

// Scratch a thread needs for all of these.
int64_t indexer_training_scratch(int width, int longest);

}  // namespace minke

#pragma once
// One layer of a training pass, there and back.

#include "ops/document_attention.h"
#include "ops/rows.h"
#include "train/adapter.h"
#include "train/buffers.h"
#include "train/objective.h"

namespace minke {

constexpr float kLatentEps = 1e-6f;  // of the latents' norms and the indexer's, whatever the model's own

// The numbers that a pass reads and writes. Weights without data have no gradient: they are frozen.
struct Trainee {
  const Config& config;
  const Weights& weights;    // f32
  const Weights& gradients;  // added to
  const Adapters* adapters = nullptr;
  const Adapters* adapter_gradients = nullptr;
  const Comm* expert_ranks = nullptr;  // that the experts are divided over; null: all are here
};

// The rows that a layer works on.
struct LayerRows {
  int count;
  std::span<const Document> documents, sequences;
  const float *cos, *sin;  // [count][rope / 2]
};

struct LayerPass {
  const Context& ctx;
  Precision precision;
  const Trainee& model;
  const Objective& objective;
  TrainState& s;
  LayerKept& k;
  const int layer;
  const LayerRows& rows_of;

  const Config& c = model.config;
  const LayerWeights &w = model.weights.layers[static_cast<size_t>(layer)],
                     &g = model.gradients.layers[static_cast<size_t>(layer)];
  const int n = rows_of.count;
  const ExpertsOverRanks over = {model.expert_ranks, &k.expert_rows, &s.experts_space};

  // From k.input [n][D] to out [n][D], keeping what backward needs. loads [E]: the tokens each expert met are
  // added, or null.
  void forward(float* out, int64_t* loads);
  // s.dhidden [n][D]: from the gradient by what the layer gave to that by what it was given. Adds the balance
  // loss and the indexer's to losses.
  void backward(Losses& losses);

 private:
  Rows rows(const float* x, int cols) const { return {x, cols, n, cols}; }
  Rotation rotation(bool half) const { return {rows_of.cos, rows_of.sin, c.rope.dims, half}; }
  DocumentShape attention_shape(const Selection& selection) const;
  Selection selection() const;
  void project_to(const float* x, const Mat& weight, float* out, bool add = false, bool exact = false) const {
    project(ctx, exact ? Precision::f32 : precision, rows(x, weight.cols), weight, out, weight.rows, add);
  }
  // Back through a product: dx (+)=, and the weight's gradient.
  void project_back(const float* x, const Mat& weight, const Mat& gradient, const float* dy, float* dx,
                    bool add, bool exact = false) const {
    project_backward(ctx, exact ? Precision::f32 : precision, rows(x, weight.cols), weight,
                     rows(dy, weight.rows), {dx, weight.cols}, add, data(gradient));
  }
  static float* data(const Mat& m) { return const_cast<float*>(m.f32()); }
  // Of this layer in a set of them; without a set, none.
  const LayerAdapters& of_layer(const Adapters* set) const {
    static const LayerAdapters kNone;
    return set ? set->layers()[static_cast<size_t>(layer)] : kNone;
  }
  void adapt_to(const float* x, const Adapter& adapter, float* out) const {
    if (adapter) adapt(ctx, precision, rows(x, adapter.a.cols), adapter, s.adapted, out, adapter.b.rows);
  }
  void adapt_back(const float* x, const Adapter& adapter, const Adapter& gradient, const float* dy,
                  float* dx) const {
    if (adapter)
      adapt_backward(ctx, precision, rows(x, adapter.a.cols), adapter, gradient, {s.adapted, s.dadapted},
                     rows(dy, adapter.b.rows), dx, adapter.a.cols);
  }

  void attention();
  void gqa();
  void mla();
  void index();
  void attention_backward(Losses& losses);
  void gqa_backward();
  void mla_backward();
  void latent_backward();
  double index_backward();

  void ffn(float* out, int64_t* loads);
  // A gated MLP in two halves, and what travels meanwhile moved on between their products.
  void gated_mlp_in(const Mat& gate, const Mat& up, const LayerAdapters& a, Pending& travel);
  void gated_mlp_out(const Mat& down, const LayerAdapters& a, float* out, Pending& travel);
  void experts(float* out, int64_t* loads);
  TrainedExperts routed() const;
  void ffn_backward(Losses& losses);
  void gated_mlp_out_backward(const Mat& down, const Mat& gradient, const LayerAdapters& a,
                              const LayerAdapters& to, Pending& travel);
  void gated_mlp_in_backward(const Mat (&weights)[2], const Mat (&gradients)[2], const LayerAdapters& a,
                             const LayerAdapters& to, bool add, Pending& travel);
  double experts_backward();
};

}  // namespace minke

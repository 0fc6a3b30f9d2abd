#include "train/pass.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "ops/cross_entropy.h"
#include "ops/rope.h"
#include "ops/rows_backward.h"
#include "train/parameters.h"

namespace minke {
namespace {

// What the layer for multi-token prediction works on: the rows that have a token after them.
struct MtpRows {
  std::vector<Document> documents, sequences;
  int count = 0;
};

struct Pass {
  const Context& ctx;
  const PassOptions& options;
  const Trainee& model;
  TrainState& s;
  const TrainBatch& batch;
  const bool back;  // gradients are wanted

  const Config& c = model.config;
  const Objective& o = options.objective;
  const int n = batch.rows();
  LayerRows main{n, batch.documents, batch.sequences, s.cos, s.sin};
  MtpRows ahead = {};
  LayerRows mtp_rows = {};

  Rows rows(const float* x, int cols) const { return {x, cols, n, cols}; }
  void complete(int unit) const {
    if (options.complete) options.complete(unit);
  }
  bool with_mtp() const { return o.mtp > 0 && c.mtp_layers > 0; }
  const LayerWeights& mtp_weights() const { return model.weights.layers[static_cast<size_t>(c.layers)]; }
  const LayerWeights& mtp_gradients() const { return model.gradients.layers[static_cast<size_t>(c.layers)]; }

  void start();
  void turn(std::span<const Document> documents, int count, float* cos, float* sin);
  void embed(std::span<const int32_t> tokens, float* to);
  LayerPass layer(int i, const LayerRows& which);
  void forward(ExpertLoads* loads);
  double head(const float* final, int count, std::span<const int32_t> targets, double scale, float* dfinal);
  void unadapted();
  double divergence();
  void collect_mtp_rows();
  void mtp_forward(ExpertLoads* loads);
  double mtp(ExpertLoads* loads, Losses& losses);
  void mtp_backward(Losses& losses);
  Losses run(ExpertLoads* loads);
};

void Pass::start() {
  MINKE_CHECK(n > 0 && n <= s.limits.rows, "{} rows, {} at most", n, s.limits.rows);
  for (const Document& d : batch.documents)
    MINKE_CHECK(d.count <= s.limits.longest, "a document of {}, {} at most", d.count, s.limits.longest);
  turn(batch.documents, n, s.cos, s.sin);
}

void Pass::turn(std::span<const Document> documents, int count, float* cos, float* sin) {
  for (const Document& d : documents)
    for (int i = 0; i < d.count; ++i) s.positions[d.first + i] = i;
  rope_angles(s.frequencies, s.rope_magnitude, {s.positions, static_cast<size_t>(count)}, cos, sin);
}

void Pass::embed(std::span<const int32_t> tokens, float* to) {
  ctx.pool.for_each(static_cast<int64_t>(tokens.size()), 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      std::copy_n(model.weights.embed.f32() + int64_t{tokens[static_cast<size_t>(r)]} * c.dim, c.dim,
                  to + r * c.dim);
  });
}

// What the layer keeps: its own, or what all share where it is run again.
LayerPass Pass::layer(int i, const LayerRows& which) {
  LayerKept& own = s.layers[static_cast<size_t>(i)];
  if (s.limits.recompute) s.again.input = own.input;
  return {ctx, options.precision, model, o, s, s.limits.recompute ? s.again : own, i, which};
}

void Pass::forward(ExpertLoads* loads) {
  embed(batch.tokens, s.layers[0].input);
  for (int i = 0; i < c.layers; ++i) {
    float* out = i + 1 < c.layers ? s.layers[static_cast<size_t>(i + 1)].input : s.output;
    layer(i, main).forward(out, loads && c.sparse(i) ? (*loads)[static_cast<size_t>(i)].data() : nullptr);
  }
  rmsnorm(ctx, rows(s.output, c.dim), model.weights.output_norm.f32(), c.norm_eps, s.final, c.dim);
}

// Mean loss of the head over `counted` predictions; adds weight times the gradient to dfinal.
double Pass::head(const float* final, int count, std::span<const int32_t> targets, double scale,
                  float* dfinal) {
  const HeadLoss loss{options.precision, model.weights.head, targets, static_cast<float>(scale)};
  return head_loss(ctx, loss, {final, c.dim, count, c.dim}, s.logits, back ? dfinal : nullptr,
                   back ? data(model.gradients.head) : nullptr);
}

// Keeps what the model without its adapters says, in s.reference.
void Pass::unadapted() {
  Trainee plain = model;
  plain.adapters = nullptr;
  Pass other{ctx, options, plain, s, batch, false};
  other.start();
  other.forward(nullptr);
  std::copy_n(s.final, int64_t{n} * c.dim, s.reference);
}

// From that, the mean of KL over counted rows; adds its gradient to s.dfinal.
double Pass::divergence() {
  const double mean = 1.0 / static_cast<double>(std::max<int64_t>(o.counted_reference, 1));
  const HeadLoss loss{options.precision, model.weights.head, batch.targets,
                      static_cast<float>(o.reference * mean)};
  return mean * head_divergence(ctx, loss, rows(s.final, c.dim), rows(s.reference, c.dim), s.logits,
                                s.reference_logits, back ? s.dfinal : nullptr,
                                back ? data(model.gradients.head) : nullptr);
}

void Pass::collect_mtp_rows() {
  const auto keep = [&](const std::vector<Document>& from, std::vector<Document>& to, bool list) {
    int at = 0;
    for (const Document& d : from) {
      Document kept{at, 0};
      for (int r = d.first; r < d.first + d.count; ++r) {
        if (batch.next[static_cast<size_t>(r)] < 0) continue;
        if (list) {
          s.mtp_rows[at] = r;
          s.mtp_tokens[at] = batch.next[static_cast<size_t>(r)];
          s.mtp_targets[at] = batch.second[static_cast<size_t>(r)];
        }
        ++at;
        ++kept.count;
      }
      if (kept.count > 0) to.push_back(kept);
    }
    return at;
  };
  ahead.count = keep(batch.documents, ahead.documents, true);
  keep(batch.sequences, ahead.sequences, false);
  turn(ahead.documents, ahead.count, s.mtp_cos, s.mtp_sin);
  mtp_rows = {ahead.count, ahead.documents, ahead.sequences, s.mtp_cos, s.mtp_sin};
}

// The layer reads the next token's embedding and the main model's final hidden state, each after a norm of
// its own (MODEL.md 2.9).
void Pass::mtp_forward(ExpertLoads* loads) {
  const LayerWeights& w = mtp_weights();
  const int count = ahead.count, dim = c.dim;
  embed({s.mtp_tokens, static_cast<size_t>(count)}, s.mtp_embedding);
  ctx.pool.for_each(count, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      std::copy_n(s.final + int64_t{s.mtp_rows[r]} * dim, dim, s.mtp_given + r * dim);
  });
  rmsnorm(ctx, {s.mtp_embedding, dim, count, dim}, w.mtp_embed_norm.f32(), c.norm_eps, s.pair, 2 * dim);
  rmsnorm(ctx, {s.mtp_given, dim, count, dim}, w.mtp_hidden_norm.f32(), c.norm_eps, s.pair + dim, 2 * dim);
  project(ctx, options.precision, {s.pair, 2 * dim, count, 2 * dim}, w.mtp_proj,
          s.layers[static_cast<size_t>(c.layers)].input, dim);
  int64_t* met = loads && c.sparse(c.layers) ? (*loads)[static_cast<size_t>(c.layers)].data() : nullptr;
  layer(c.layers, mtp_rows).forward(s.mtp_output, met);
  rmsnorm(ctx, {s.mtp_output, dim, count, dim}, w.mtp_norm.f32(), c.norm_eps, s.mtp_final, dim);
}

// The layer there and back: its gradient by the main model's final hidden state is added to s.dfinal.
double Pass::mtp(ExpertLoads* loads, Losses& losses) {
  collect_mtp_rows();
  if (ahead.count == 0 && !model.expert_ranks) return 0;  // other ranks may have rows for the experts here
  mtp_forward(loads);
  const double mean = 1.0 / static_cast<double>(std::max<int64_t>(o.counted_second, 1));
  const size_t size = static_cast<size_t>(ahead.count) * static_cast<size_t>(c.dim);
  std::fill_n(s.dnormed, size, 0.0f);
  const double loss = head(s.mtp_final, ahead.count, {s.mtp_targets, static_cast<size_t>(ahead.count)},
                           o.mtp * mean, s.dnormed);
  if (back) mtp_backward(losses);
  return loss * mean;
}

// From s.dnormed, the gradient by what the head was given.
void Pass::mtp_backward(Losses& losses) {
  const LayerWeights &w = mtp_weights(), &g = mtp_gradients();
  const int count = ahead.count, dim = c.dim;
  const size_t size = static_cast<size_t>(count) * static_cast<size_t>(dim);
  std::fill_n(s.dhidden, size, 0.0f);
  rmsnorm_backward(ctx, {s.mtp_output, dim, count, dim}, w.mtp_norm.f32(), c.norm_eps,
                   {s.dnormed, dim, count, dim}, s.dhidden, dim, data(g.mtp_norm));
  layer(c.layers, mtp_rows).backward(losses);  // nothing ran since that would have to be run again
  project_backward(ctx, options.precision, {s.pair, 2 * dim, count, 2 * dim}, w.mtp_proj,
                   {s.dhidden, dim, count, dim}, {s.dpair, 2 * dim}, false, data(g.mtp_proj));
  std::fill_n(s.dnormed, size, 0.0f);
  rmsnorm_backward(ctx, {s.mtp_embedding, dim, count, dim}, w.mtp_embed_norm.f32(), c.norm_eps,
                   {s.dpair, 2 * dim, count, dim}, s.dnormed, dim, data(g.mtp_embed_norm));
  if (float* table = data(model.gradients.embed))
    embedding_backward(ctx, {s.mtp_tokens, static_cast<size_t>(count)}, {s.dnormed, dim, count, dim}, table);
  std::fill_n(s.dnormed, size, 0.0f);
  rmsnorm_backward(ctx, {s.mtp_given, dim, count, dim}, w.mtp_hidden_norm.f32(), c.norm_eps,
                   {s.dpair + dim, 2 * dim, count, dim}, s.dnormed, dim, data(g.mtp_hidden_norm));
  if (o.mtp_detached) return;
  ctx.pool.for_each(count, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      ctx.kernels.add(s.dfinal + int64_t{s.mtp_rows[r]} * dim, s.dnormed + r * dim, dim);
  });
}

Losses Pass::run(ExpertLoads* loads) {
  Losses losses;
  if (o.reference != 0) unadapted();
  start();
  forward(loads);
  const size_t size = static_cast<size_t>(n) * static_cast<size_t>(c.dim);
  std::fill_n(s.dfinal, size, 0.0f);
  const double mean = 1.0 / static_cast<double>(std::max<int64_t>(o.counted, 1));
  if (o.language != 0) losses.language = mean * head(s.final, n, batch.targets, o.language * mean, s.dfinal);
  if (o.reference != 0) losses.reference = divergence();
  if (with_mtp()) losses.mtp = mtp(loads, losses);
  if (!back) return losses;
  for (int i = c.layers; i < head_unit(c); ++i) complete(i);
  std::fill_n(s.dhidden, size, 0.0f);
  if (o.model_learns())
    rmsnorm_backward(ctx, rows(s.output, c.dim), model.weights.output_norm.f32(), c.norm_eps,
                     rows(s.dfinal, c.dim), s.dhidden, c.dim, data(model.gradients.output_norm));
  complete(head_unit(c));
  for (int i = c.layers - 1; i >= 0; --i) {
    if (s.limits.recompute)
      layer(i, main).forward(i + 1 < c.layers ? s.layers[static_cast<size_t>(i + 1)].input : s.output,
                             nullptr);
    layer(i, main).backward(losses);
    complete(i);
  }
  if (float* table = data(model.gradients.embed); table && o.model_learns())
    embedding_backward(ctx, batch.tokens, rows(s.dhidden, c.dim), table);
  complete(embedding_unit(c));
  return losses;
}

}  // namespace

ExpertLoads no_loads(const Config& config, bool mtp) {
  ExpertLoads loads(static_cast<size_t>(config.layers + (mtp ? config.mtp_layers : 0)));
  for (size_t i = 0; i < loads.size(); ++i)
    if (config.sparse(static_cast<int>(i)))
      loads[i].assign(static_cast<size_t>(config.moe->router.experts), 0);
  return loads;
}

Losses train_pass(const Context& ctx, const PassOptions& options, const Trainee& trainee, TrainState& state,
                  const TrainBatch& batch, ExpertLoads* loads) {
  return Pass{ctx, options, trainee, state, batch, true}.run(loads);
}

Losses evaluate_pass(const Context& ctx, const PassOptions& options, const Trainee& trainee,
                     TrainState& state, const TrainBatch& batch) {
  return Pass{ctx, options, trainee, state, batch, false}.run(nullptr);
}

std::vector<float> logits_pass(const Context& ctx, const PassOptions& options, const Trainee& trainee,
                               TrainState& state, const TrainBatch& batch) {
  Pass pass{ctx, options, trainee, state, batch, false};
  pass.start();
  pass.forward(nullptr);
  std::vector<float> logits(static_cast<size_t>(pass.n) * static_cast<size_t>(trainee.config.vocab));
  project(ctx, options.precision, pass.rows(state.final, trainee.config.dim), trainee.weights.head,
          logits.data(), trainee.config.vocab);
  return logits;
}

}  // namespace minke

#include "engine/measure.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "model/adapters.h"
#include "plan/counts.h"
#include "plan/memory.h"

namespace minke {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Tokens spread over the middle of the vocabulary; special ones are at the ends.
std::vector<Token> some_tokens(const Config& config, int start, int count) {
  const int first = config.vocab > 2000 ? 500 : 0,
            range = config.vocab > 2000 ? config.vocab - 1000 : config.vocab;
  std::vector<Token> tokens(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i)
    tokens[static_cast<size_t>(i)] = first + static_cast<int>((int64_t{start} + i) * 7919 % range);
  return tokens;
}

// Appends tokens to the view in steps of the instance's rows.
void feed(Instance& instance, KvView& view, int count, Want last) {
  const std::vector<Token> tokens = some_tokens(instance.config(), view.length, count);
  const int rows = instance.state().limits.rows;
  if (!instance.kv().reserve(view, view.length + count))
    throw Error(fmt::format("{} tokens do not fit the context", count));
  const int given = view.length + count;
  for (int at = 0; at < count; at += rows) {
    const int n = std::min(rows, count - at);
    const SequenceSlice slice{&view, 0, n, view.length, at + n == count ? last : Want::nothing, given};
    instance.forward(
        {std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(n)), {&slice, 1}, {}});
  }
}

// A step of decoding: one more token in each view.
void decode_step(Instance& instance, std::span<KvView> views) {
  std::vector<Token> tokens;
  std::vector<SequenceSlice> slices;
  for (KvView& view : views) {
    const int row = static_cast<int>(tokens.size());
    if (!instance.kv().reserve(view, view.length + 1)) throw Error("one more token does not fit the context");
    tokens.push_back(some_tokens(instance.config(), view.length + 997 * row, 1)[0]);
    slices.push_back({&view, row, 1, view.length, Want::last_logits, 0});
  }
  instance.forward({tokens, slices, {}});
}

// `depth` tokens in the view, the first `computed` of them (whole pages, one at least) computed.
void fill(Instance& instance, KvView& view, int depth, int computed) {
  const int first = std::min(depth, std::max(computed / kPageTokens, 1) * kPageTokens);
  feed(instance, view, first, Want::nothing);
  if (!instance.kv().reserve(view, depth))
    throw Error(fmt::format("{} tokens do not fit the context", depth));
  if (first == depth) return;
  const auto sources = static_cast<size_t>(first / kPageTokens);
  for (size_t page = sources; page < view.pages.size(); ++page)
    instance.kv().copy_page(view.pages[page % sources], view.pages[page]);
  view.length = depth;
}

Limit medians(const std::vector<Limit>& slices) {
  Limit m;
  for (double Limit::* const part :
       {&Limit::read_bytes, &Limit::int8_multiplies, &Limit::bf16_multiplies, &Limit::f32_multiplies}) {
    std::vector<double> values;
    for (const Limit& l : slices) values.push_back(l.*part);
    m.*part = median(values);
  }
  return m;
}

// How most weights of the model meet activations.
Grain usual_grain(const Instance& instance) {
  std::array<int64_t, 3> weights_of{};
  Weights weights = instance.model().weights;  // views only
  for_each_weight(instance.model().config, weights, [&](const WeightSlot& slot, Mat& m) {
    if (slot.vector || slot.role == Role::embed) return;
    weights_of[static_cast<size_t>(grain_of(instance.context(), m))] += slot.count();
  });
  return static_cast<Grain>(std::ranges::max_element(weights_of) - weights_of.begin());
}

double multiplies_at(const Limit& limit, Grain grain) {
  switch (grain) {
    case Grain::f32: return limit.f32_multiplies;
    case Grain::bf16: return limit.bf16_multiplies;
    case Grain::int8: break;
  }
  return limit.int8_multiplies;
}

Measured measure_at(Instance& instance, Probe& probe, const MeasureOptions& o, int depth,
                    const std::function<void(const char*)>& progress) {
  std::vector<KvView> views(static_cast<size_t>(o.sequences));
  KvView& view = views[0];
  const auto truncate = [&](int length) {
    for (KvView& v : views) instance.kv().truncate(v, std::min(length, v.length));
  };
  if (depth > 0)
    for (KvView& v : views) fill(instance, v, depth, o.computed);
  std::vector<Limit> beside_prefill, beside_decode;
  std::vector<double> prefill, decode;
  for (int repeat = 0; repeat < o.repeats; ++repeat) {
    if (progress) progress("prefill");
    truncate(depth);
    beside_prefill.push_back(probe.slice());
    if (o.prompt > 0) {
      const auto start = Clock::now();
      feed(instance, view, o.prompt, Want::last_logits);
      prefill.push_back(o.prompt / seconds_since(start));
      beside_prefill.push_back(probe.slice());
    }
    if (o.decode == 0) continue;
    if (progress) progress("decode");
    truncate(depth);
    if (depth == 0) decode_step(instance, views);
    double spent = 0;
    for (int i = 0; i < o.decode; ++i) {
      if (i % 8 == 0) beside_decode.push_back(probe.slice());
      const auto start = Clock::now();
      decode_step(instance, views);
      spent += seconds_since(start);
    }
    decode.push_back(o.decode * o.sequences / spent);
  }
  truncate(0);

  Measured m;
  m.depth = depth;
  const Limits& limits = instance.state().limits;
  if (!prefill.empty()) {
    m.prefill_rate = median(prefill);
    m.prefill_multiplies =
        m.prefill_rate * static_cast<double>(prefill_multiplies(instance.config(), depth + o.prompt / 2));
    m.limit = medians(beside_prefill);
    m.prefill_share = m.prefill_multiplies / multiplies_at(m.limit, usual_grain(instance));
  }
  if (!decode.empty()) {
    m.decode_rate = median(decode);
    const int64_t step = decode_bytes(instance.model(), limits.kv, depth + o.decode / 2, o.sequences);
    m.decode_bytes = m.decode_rate / o.sequences * static_cast<double>(step);
    m.limit.read_bytes = medians(beside_decode).read_bytes;
    m.decode_share = m.decode_bytes / m.limit.read_bytes;
  }
  return m;
}

}  // namespace

int64_t decode_bytes(const Model& model, const KvFormats& kv, int depth, int sequences) {
  int64_t bytes = 0, experts = 0;
  Weights weights = model.weights;
  for_each_weight(model.config, weights, [&](const WeightSlot& slot, Mat& m) {
    if (slot.layer >= model.config.layers) return;
    if (slot.role == Role::embed)
      bytes += m.row_bytes * sequences;  // a tied head is read as a whole below
    else
      (slot.expert < 0 ? bytes : experts) += m.bytes();
  });
  if (experts > 0) {
    const auto& router = model.config.moe->router;
    const double idle = std::pow(1 - double(router.active) / router.experts, sequences);
    bytes += static_cast<int64_t>(static_cast<double>(experts) * (1 - idle));
  }
  if (model.config.tied) bytes += model.weights.head.bytes();
  for (const LayerAdapters& layer : model.weights.adapters)
    for (const AdaptedMatrix& m : adapted_matrices())
      bytes += (layer.*m.adapter).a.bytes() + (layer.*m.adapter).b.bytes();
  return bytes + cache_bytes_per_token(as_run(model.config, {}), kv) * depth * sequences;
}

int64_t prefill_multiplies(const Config& config, int64_t visible) {
  Config others = config;  // of the last layer, rows that do not come out need what the cache keeps alone
  --others.layers;
  const Counts c = count(others);
  const KvRow cached = kv_layout(config, {})[static_cast<size_t>(others.layers)];
  const int64_t numbers = cached.key.width + cached.value.width + cached.latent.width + cached.index.width;
  return c.active_without_embedding() - c.head + config.dim * numbers +
         others.layers * attention_multiplies(config, visible);
}

std::vector<Measured> measure(Instance& instance, const MeasureOptions& options,
                              const std::function<void(const char*)>& progress) {
  Probe probe(instance.context());
  KvView warm;  // a whole step, so that memory and weights have been touched
  feed(instance, warm, std::min(std::max(options.prompt, 32), instance.state().limits.rows),
       Want::last_logits);
  instance.kv().truncate(warm, 0);
  std::vector<Measured> results;
  for (const int depth : options.depths)
    results.push_back(measure_at(instance, probe, options, depth, progress));
  return results;
}

}  // namespace minke

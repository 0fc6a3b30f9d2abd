// A row's numbers do not depend on what runs beside it: neighbours, chunks, threads. To the bit, over every
// cache format in the default mode, and over f32 in the exact one (DESIGN: answers that can be trusted).

#include <algorithm>
#include <bit>

#include <rapidcheck.h>

#include "kernels/isas.h"
#include "model/random_config.h"
#include "model/test_models.h"

namespace minke {
namespace {

constexpr Format kFormats[] = {Format::f32,    Format::bf16, Format::f16,  Format::f8_e4m3, Format::q4_0,
                               Format::q4_1,   Format::q5_0, Format::q5_1, Format::q8_0,    Format::q2_k,
                               Format::q3_k,   Format::q4_k, Format::q5_k, Format::q6_k,    Format::iq4_nl,
                               Format::iq4_xs, Format::mxfp4};

InstanceOptions options_for(int rows, int threads, bool exact, KvFormat kv) {
  InstanceOptions o;
  o.round_activations = kv != KvFormat::f32;
  o.limits.kv = kv;
  o.limits.rows = o.limits.logit_rows = rows;
  o.limits.sequences = 3;
  o.limits.context = 1024;
  o.limits.threads = threads;
  o.limits.mtp = true;
  o.limits.decompress = !exact;
  return o;
}

// Logits of positions, of which not all were asked for.
struct Logits {
  std::vector<std::vector<float>> rows;  // empty: not asked for

  // `count` more positions, of which state has the logits, or those of the last one.
  void add(const State& state, int vocab, int count, Want want) {
    if (want == Want::last_logits) rows.resize(rows.size() + static_cast<size_t>(count) - 1);
    for (int i = 0; i < (want == Want::last_logits ? 1 : count); ++i)
      rows.emplace_back(state.logits + int64_t{i} * vocab, state.logits + int64_t{i + 1} * vocab);
  }
};

// Those of the model, and of its MTP layer where there is one.
struct Seen {
  Logits model, mtp;
};

Want some_want(Random* random) { return random && random->below(2) ? Want::last_logits : Want::all_logits; }

// Feeds `tokens` in pieces of at most `most` rows, with up to two neighbours in every batch where `random` is
// given.
Seen feed(const Model& model, const std::vector<Token>& tokens, int given_tokens, const InstanceOptions& o,
          int most, Random* random) {
  Instance instance(model, o);
  const Config& c = model.config;
  const int n = static_cast<int>(tokens.size());
  KvView view = reserved(instance, n), beside[2] = {reserved(instance, 300), reserved(instance, 300)};
  Seen seen;
  std::vector<float> hidden;
  for (int at = 0; at < n;) {
    const int count = std::min(n - at, random ? between(*random, 1, most) : most);
    std::vector<Token> batch;
    std::vector<SequenceSlice> slices;
    const auto neighbour = [&](KvView& kv) {
      const int room = std::min(o.limits.rows - count - static_cast<int>(batch.size()), 300 - kv.length);
      const int some = between(*random, 0, std::max(0, std::min(room, 9)));
      if (some == 0) return;
      slices.push_back({&kv, static_cast<int>(batch.size()), some, kv.length, Want::nothing, 300});
      for (const Token t : random_tokens(*random, c.vocab, some)) batch.push_back(t);
    };
    if (random) neighbour(beside[0]);
    const Want want = c.mtp_layers == 0 ? some_want(random) : Want::all_logits;  // that layer takes all rows
    slices.push_back({&view, static_cast<int>(batch.size()), count, at, want, given_tokens});
    batch.insert(batch.end(), tokens.begin() + at, tokens.begin() + at + count);
    if (random) neighbour(beside[1]);
    instance.forward({batch, slices, {}});
    const State& s = instance.state();
    seen.model.add(s, c.vocab, count, want);
    if (want == Want::all_logits) hidden.insert(hidden.end(), s.output, s.output + int64_t{count} * c.dim);
    at += count;
  }
  for (int at = 0; c.mtp_layers > 0 && at + 1 < n;) {
    const int count = std::min(n - 1 - at, random ? between(*random, 1, most) : most);
    std::vector<GivenRow> given;
    for (int i = 0; i < count; ++i) given.push_back({i, hidden.data() + int64_t{at + i} * c.dim});
    const Want want = some_want(random);
    const SequenceSlice slice{&view, 0, count, at, want, given_tokens};
    instance.forward_mtp({std::span(tokens).subspan(static_cast<size_t>(at) + 1, static_cast<size_t>(count)),
                          {&slice, 1},
                          given});
    seen.mtp.add(instance.state(), c.vocab, count, want);
    at += count;
  }
  return seen;
}

// Where both were asked for.
bool same(const Logits& a, const Logits& b) {
  const auto bits = [](float v) { return std::bit_cast<uint32_t>(v); };
  return std::ranges::equal(a.rows, b.rows, [&](const auto& x, const auto& y) {
    return x.empty() || y.empty() || std::ranges::equal(x, y, {}, bits, bits);
  });
}
bool same(const Seen& a, const Seen& b) { return same(a.model, b.model) && same(a.mtp, b.mtp); }

TEST(Invariance, RowsDoNotDependOnWhatIsBesideThem) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    const Config config = random_config(random, kArchitectureNames[random.below(6)]);
    const uint64_t seed = random.bits();
    const bool mixed = random.below(2);
    const Format one = kFormats[random.below(std::size(kFormats))];
    RandomModel model(config, random.bits(), [&](const WeightSlot& slot) {  // experts of a layer share one
      Random formats(seed, static_cast<uint64_t>(slot.layer * 64 + static_cast<int>(slot.role)));
      return mixed ? kFormats[formats.below(std::size(kFormats))] : one;
    });
    if (random.below(2)) model.add_adapters(random);
    const std::vector<Token> tokens = random_tokens(random, config.vocab, between(random, 20, 130));
    const int given = between(random, 0, static_cast<int>(tokens.size()));  // the others count as generated
    for (const KvFormat kv : kKvFormats) {
      const bool exact = random.below(2) == 0;
      const Seen alone = feed(model.model(), tokens, given, options_for(160, 1, exact, kv), 160, nullptr);
      for (const std::vector<float>& row : alone.model.rows)
        for (const float x : row) RC_ASSERT(std::isfinite(x));
      for (const int threads : {1, 2, 7}) {
        const auto of = [&](int rows) { return options_for(rows, threads, exact, kv); };
        RC_ASSERT(same(alone, feed(model.model(), tokens, given, of(160), 160, nullptr)));
        RC_ASSERT(same(alone, feed(model.model(), tokens, given, of(64), 40, &random)));
      }
      RC_ASSERT(same(alone, feed(model.model(), tokens, given, options_for(8, 2, exact, kv), 1, nullptr)));
    }
    const Seen filed =
        feed(model.model(), tokens, given, options_for(8, 2, false, KvFormat::bf16), 5, nullptr);
    model.interleave();
    RC_ASSERT(same(
        filed, feed(model.model(), tokens, given, options_for(64, 2, false, KvFormat::bf16), 40, &random)));
  }));
}

TEST(Invariance, InstructionSetsGiveTheSameBits) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    const Config config = random_config(random, kArchitectureNames[random.below(6)]);
    RandomModel model(config, random.bits(), kFormats[random.below(std::size(kFormats))]);
    if (random.below(2)) model.add_adapters(random);
    const std::vector<Token> tokens = random_tokens(random, config.vocab, 30);
    const int given = between(random, 0, 30);
    for (const KvFormat kv : kKvFormats) {
      InstanceOptions o = options_for(40, 2, random.below(2) == 0, kv);
      o.isa = Isa::scalar;
      const Seen reference = feed(model.model(), tokens, given, o, 40, nullptr);
      for (const Isa isa : usable_isas()) {
        o.isa = isa;
        RC_ASSERT(same(reference, feed(model.model(), tokens, given, o, 7, nullptr)));
      }
    }
  }));
}

}  // namespace
}  // namespace minke

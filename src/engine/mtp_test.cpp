// The MTP layer's drafts against those made by hand: the whole sequence through a fresh instance at once.

#include "engine/mtp.h"

#include <list>

#include <rapidcheck.h>

#include "engine/test_engine.h"
#include "model/random_config.h"

namespace minke {
namespace {

InstanceOptions small(int rows, int threads) {
  InstanceOptions o;
  o.limits = {
      .rows = rows, .sequences = 3, .context = 600, .logit_rows = rows, .threads = threads, .mtp = true};
  return o;
}

// What the layer guesses behind tokens [0, fed], of which all but the last were fed.
std::vector<Token> drafted_by_hand(const Model& model, const Request& request, std::vector<Token> tokens,
                                   int count) {
  const int given_tokens = static_cast<int>(request.prompt.size());
  const int fed = static_cast<int>(tokens.size()) - 1, dim = model.config.dim, vocab = model.config.vocab;
  Instance instance(model, small(fed, 1));
  KvView view = reserved(instance, fed + count);
  const SequenceSlice whole{&view, 0, fed, 0, Want::all_hidden, given_tokens};
  instance.forward({std::span(tokens).first(static_cast<size_t>(fed)), {&whole, 1}, {}});
  std::vector<float> hidden(instance.state().output, instance.state().output + int64_t{fed} * dim);
  std::vector<Token> draft;
  for (int i = 0; i < count; ++i) {
    const int first = i == 0 ? 0 : fed - 1 + i, rows = i == 0 ? fed : 1;
    std::vector<GivenRow> given;
    for (int r = 0; r < rows; ++r) given.push_back({r, hidden.data() + int64_t{r} * dim});
    const SequenceSlice slice{&view, 0, rows, first, Want::last_logits, given_tokens};
    instance.forward_mtp(
        {std::span(tokens).subspan(static_cast<size_t>(first) + 1, static_cast<size_t>(rows)),
         {&slice, 1},
         given});
    hidden.assign(instance.state().output, instance.state().output + dim);
    std::vector<float> logits(instance.state().logits, instance.state().logits + vocab);
    logits[7] = -INFINITY;  // the banned one
    const size_t prompt = request.prompt.size();
    const Said said{std::span(tokens).first(prompt), std::span(tokens).subspan(prompt)};
    draft.push_back(pick(request.sampling, said, logits));
    tokens.push_back(draft.back());
  }
  return draft;
}

TEST(MtpDrafter, DraftsWhatTheLayerGivesByHandHoweverTheTextWasFed) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    Config config = random_config(random, random.below(2) ? "deepseek_v3" : "deepseek_v32");
    config.mtp_layers = 1;
    const RandomModel model(config, random.bits(), random.below(2) ? Format::q8_0 : Format::f32);
    Instance instance(model.model(), small(24, between(random, 1, 3)));
    const std::vector<Token> banned = {7};
    MtpDrafter drafter(instance, banned);

    // Conversations whose tokens were rolled beforehand: drafts are accepted as far as a die says.
    std::list<Sequence> sequences;
    std::vector<std::vector<Token>> rolled;
    for (uint64_t i = 0; i < 3; ++i) {
      rolled.push_back(random_tokens(random, config.vocab, 120));
      Request r = sampled({rolled[i].begin(), rolled[i].begin() + between(random, 1, 40)}, 60, i);
      if (random.below(2)) r.sampling.temperature = 0;
      if (random.below(3) == 0) r.sampling.presence_penalty = 3;
      RC_ASSERT(instance.kv().reserve(sequences.emplace_back(i, std::move(r), test_tokenizer()).kv, 120));
    }
    for (int step = 0; step < 8; ++step) {
      std::vector<Token> tokens;
      std::vector<SequenceSlice> slices;
      std::vector<Fed> fed;
      for (Sequence& s : sequences) {
        if (random.below(4) == 0) {  // not in this step: its draft, if it has one, is dropped
          s.draft.clear();
          continue;
        }
        const int count = std::min(s.unfed(), between(random, 1, 6)),
                  drafted = static_cast<int>(s.draft.size());
        const int row = static_cast<int>(tokens.size());
        slices.push_back({&s.kv, row, count + drafted, s.kv.length, Want::nothing, s.prompt_size()});
        fed.push_back({&s, row, s.kv.length, 0});
        tokens.insert(tokens.end(), s.tokens.begin() + s.kv.length, s.tokens.begin() + s.kv.length + count);
        tokens.insert(tokens.end(), s.draft.begin(), s.draft.end());
      }
      if (tokens.empty()) continue;
      instance.forward({tokens, slices, {}, true});
      for (Fed& f : fed) {
        Sequence& s = *f.sequence;
        const int drafted = static_cast<int>(s.draft.size()), accepted = between(random, 0, drafted);
        s.kv.length -= drafted - accepted;
        if (s.kv.length >= s.prompt_size()) {  // rejected rows hold other tokens than what follows
          s.tokens.insert(s.tokens.end(), s.draft.begin(), s.draft.begin() + accepted);
          s.tokens.push_back(rolled[s.id][s.tokens.size()]);
        }
        s.draft.clear();
        if (s.unfed() == 1) f.draft = between(random, 0, 4);
      }
      drafter.follow(fed);
      for (const Fed& f : fed) {
        const Sequence& s = *f.sequence;
        RC_ASSERT(s.kv.mtp_length == s.kv.length);
        if (f.draft == 0) RC_ASSERT(s.draft.empty());
        if (f.draft > 0 && random.below(2))
          RC_ASSERT(s.draft == drafted_by_hand(model.model(), s.request, s.tokens, f.draft));
      }
    }
  }));
}

}  // namespace
}  // namespace minke

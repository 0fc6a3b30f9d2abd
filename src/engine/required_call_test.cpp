// A tool that has to be called is called, whatever the model, the seed and the temperature.

#include <gtest/gtest.h>

#include "engine/test_engine.h"
#include "text/answer_parser.h"
#include "text/call_mask.h"

namespace minke {
namespace {

const Json kTools = parse_json(R"([{"type": "function", "function": {"name": "add"}},
                                   {"type": "function", "function": {"name": "add_all"}}])");

struct Calls {
  AnswerFormat format;
  std::shared_ptr<const CallGrammar> grammar;
  std::shared_ptr<const TokenTable> table = std::make_shared<const TokenTable>(test_tokenizer());

  explicit Calls(CallSyntax syntax, CallRules rules = {.tools = kTools}) {
    format.calls = syntax;
    grammar = std::make_shared<const CallGrammar>(format, rules);
  }

  Request request(uint64_t seed, float temperature, int max_tokens) const {
    Request r = sampled({1, 2, 3}, max_tokens, seed);
    r.ignore_end = false;
    r.sampling.temperature = temperature;
    r.stop_tokens = {*test_tokenizer().find("<eos>")};
    r.mask = std::make_shared<CallMask>(test_tokenizer(), table, grammar, r.stop_tokens);
    return r;
  }
};

// Its own end tokens are letters to the tokenizer of the tests.
Model tiny_model() {
  Model model = load_model(golden_folder("llama"));
  model.config.eos.clear();
  return model;
}

TEST(RequiredCall, ComesWhateverTheModelWouldSay) {
  const Model model = tiny_model();
  for (const int draft : {0, 5}) {
    Engine engine(model, test_tokenizer(), engine_options({.draft = draft}));
    for (const CallSyntax syntax :
         {CallSyntax::hermes, CallSyntax::llama3, CallSyntax::deepseek_v31, CallSyntax::deepseek_v32})
      for (const float temperature : {0.0f, 0.7f, 100.0f})
        for (uint64_t seed = 0; seed < 4; ++seed) {
          const Calls calls(syntax);
          const int most = calls.grammar->least(calls.grammar->start()) + 1 + static_cast<int>(seed) * 10;
          const Ran ran = run(engine, calls.request(seed, temperature, most));
          EXPECT_EQ(ran.finish.reason, FinishReason::stop) << ran.text;
          const ParsedAnswer answer = parse_answer(calls.format, {.tools = tool_names(kTools)}, ran.text);
          EXPECT_EQ(answer.fault, "") << ran.text;
          EXPECT_EQ(answer.content, "") << ran.text;
          EXPECT_EQ(answer.calls.size(), 1u) << ran.text;
        }
  }
}

TEST(RequiredCall, IsTheSameWithDraftsAndBesideOthers) {
  const Model model = tiny_model();
  const Calls calls(CallSyntax::hermes);
  Engine plain(model, test_tokenizer(), engine_options({})),
      drafting(model, test_tokenizer(), engine_options({.draft = 6}));
  const Ran alone = run(plain, calls.request(3, 1, 200));
  Pending other;
  drafting.submit(other.watch(sampled({4, 5}, 100, 1)));
  EXPECT_EQ(run(drafting, calls.request(3, 1, 200)).tokens, alone.tokens);
  other.wait();
}

TEST(RequiredCall, LogprobsAreTheModelsOwn) {
  const Model model = tiny_model();
  Engine engine(model, test_tokenizer(), engine_options({}));
  Request masked = Calls(CallSyntax::hermes).request(0, 0, 1), free = request_of({1, 2, 3}, 1);
  masked.sampling.logprobs = free.sampling.logprobs = 3;
  EXPECT_EQ(run(engine, std::move(masked)).outputs.at(0).logprobs.top,
            run(engine, std::move(free)).outputs.at(0).logprobs.top);
}

// The engine writes special tokens that were asked for, and says which parts of the text added tokens wrote.
TEST(RequiredCall, SpecialTokensAreWrittenWhereAskedFor) {
  const Model model = tiny_model();
  Engine engine(model, test_tokenizer(), engine_options({}));
  const Token bos = *test_tokenizer().find("<bos>");
  for (const bool asked : {false, true}) {
    Request r = request_of({1, 2, 3}, 2);
    r.sampling.logit_bias = {{bos, 1000.0f}};
    if (asked) r.written = {bos};
    const Ran ran = run(engine, std::move(r));
    EXPECT_EQ(ran.text, asked ? "<bos><bos>" : "");
    EXPECT_EQ(ran.outputs.at(0).added, asked ? (std::vector<TextRun>{{0, 5}}) : std::vector<TextRun>{});
  }
}

}  // namespace
}  // namespace minke

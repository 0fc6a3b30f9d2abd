#include "api/local_completer.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <thread>

#include "api/test_dialect.h"
#include "engine/test_engine.h"

namespace minke {
namespace {

const Model& model() {
  static const Model llama = [] {
    Model made = load_model(golden_folder("llama"));
    made.config.eos = {*test_tokenizer().find("<eos>")};  // its own is a quotation mark here
    return made;
  }();
  return llama;
}

constexpr const char* kTemplate =
    "{% for m in messages %}<x>{{ m.role }} {{ m.content }}{% endfor %}<tool_call>{% if tools %}T{% endif %}";

// An engine over a tiny model, and events that are waited for.
class Local {
 public:
  explicit Local(const std::string& chat_template = kTemplate, int context = 0) {
    LocalCompleterOptions options;
    options.card = {"tiny", {}, 0, context};
    const ChatFormat chat = ChatFormat::from_template(chat_template, {"<bos>", "<eos>", ""});
    engine_ = std::make_unique<Engine>(model(), test_tokenizer(), engine_options({}));
    completer = std::make_unique<LocalCompleter>(*engine_, test_tokenizer(), chat, std::move(options));
  }
  ~Local() { engine_.reset(); }

  struct Result {
    std::vector<std::string> texts;
    std::vector<EndReason> reasons;
    std::vector<std::vector<TokenLogprob>> logprobs;
    Usage usage;
    Fault fault;
    int events = 0;
  };

  Result run(const CompletionRequest& request, int cancel_after = -1) {
    struct Shared {
      std::mutex mutex;
      std::condition_variable changed;
      bool done = false;
      Result result;
    };
    auto shared = std::make_shared<Shared>();
    const auto n = static_cast<size_t>(request.choices());
    shared->result.texts.resize(n);
    shared->result.reasons.resize(n);
    shared->result.logprobs.resize(n);
    const uint64_t id = completer->submit(request, [shared](const CompletionEvent& e) {
      const std::lock_guard lock(shared->mutex);
      EXPECT_FALSE(shared->done) << "an event after the last";
      Result& r = shared->result;
      const auto at = static_cast<size_t>(e.choice);
      ++r.events;
      for (const AnswerEvent& part : e.parts) r.texts[at] += part.text;
      r.logprobs[at].insert(r.logprobs[at].end(), e.logprobs.begin(), e.logprobs.end());
      if (e.kind == CompletionEvent::Kind::end) r.reasons[at] = e.reason;
      if (e.kind == CompletionEvent::Kind::done) r.usage = e.usage;
      if (e.kind == CompletionEvent::Kind::failed) r.fault = e.fault;
      shared->done = e.kind == CompletionEvent::Kind::done || e.kind == CompletionEvent::Kind::failed;
      shared->changed.notify_all();
    });
    std::unique_lock lock(shared->mutex);
    if (cancel_after >= 0) {
      shared->changed.wait_for(lock, std::chrono::seconds(60),
                               [&] { return shared->result.events >= cancel_after; });
      lock.unlock();
      completer->cancel(id);
      lock.lock();
    }
    EXPECT_TRUE(shared->changed.wait_for(lock, std::chrono::seconds(120), [&] { return shared->done; }));
    return shared->result;
  }

  std::unique_ptr<LocalCompleter> completer;

 private:
  std::unique_ptr<Engine> engine_;
};

CompletionRequest chat_of(const std::string& text, int max_tokens) {
  CompletionRequest request;
  request.chat.emplace();
  request.chat->messages = JsonArray{JsonObject{{"role", "user"}, {"content", text}}};
  request.max_tokens = max_tokens;
  request.ignore_end = true;
  return request;
}

CompletionRequest text_of(const std::string& text, int max_tokens) {
  CompletionRequest request;
  request.prompts = {{text, {}, {}}};
  request.max_tokens = max_tokens;
  request.ignore_end = true;
  return request;
}

TEST(LocalCompleter, ChoicesAreThoseOfTheEngineAlone) {
  Local local;
  CompletionRequest request = text_of("hello the", 12);
  request.sampling.temperature = 1;
  request.sampling.seed = 5;
  request.n = 3;
  const Local::Result three = local.run(request);
  EXPECT_EQ(three.usage.output_tokens, 36);
  request.n = 1;
  for (uint64_t i = 0; i < 3; ++i) {
    request.sampling.seed = 5 + i;
    const Local::Result one = local.run(request);
    EXPECT_EQ(one.texts[0], three.texts[i]);
    EXPECT_EQ(one.reasons[0], EndReason::length);
    EXPECT_EQ(one.usage.prompt_tokens, three.usage.prompt_tokens) << "a prompt counts once";
  }
}

TEST(LocalCompleter, SpecialTextOfUsersStaysText) {
  const Local local;
  const auto tokens = [&](const std::string& text) { return local.completer->tokens(chat_of(text, 1)); };
  const Token x = *test_tokenizer().find("<x>"), eos = *test_tokenizer().find("<eos>");
  const std::vector<Token> made = tokens("a<x>b<eos>");
  EXPECT_EQ(std::ranges::count(made, x), 1) << "the template's own";
  EXPECT_EQ(std::ranges::count(made, eos), 0);
  EXPECT_EQ(local.completer->rendered(*chat_of("q", 1).chat), "<x>user q<tool_call>");
}

TEST(LocalCompleter, ToolsGoToTheTemplateUnlessNoneMayBeCalled) {
  const Local local;
  CompletionRequest request = chat_of("q", 1);
  request.chat->tools = parse_json("[" + kTool + "]");
  const size_t with = local.completer->tokens(request).size();
  request.tool_choice.kind = ToolChoice::Kind::none;
  EXPECT_EQ(local.completer->tokens(request).size() + 1, with);
  EXPECT_EQ(local.completer->tokens(request), local.completer->tokens(chat_of("q", 1)));
  const Local without("{{ messages[0].content }}");
  request.tool_choice.kind = ToolChoice::Kind::automatic;
  EXPECT_EQ(subject_of([&] { without.completer->tokens(request); }), "tools");
}

TEST(LocalCompleter, ARequiredCallIsMade) {
  Local local;
  CompletionRequest request = chat_of("q", 200);
  request.ignore_end = false;
  request.chat->tools = parse_json("[" + kTool + "]");
  request.tool_choice.kind = ToolChoice::Kind::required;
  request.parallel_calls = false;
  EXPECT_EQ(local.run(request).reasons[0], EndReason::calls);
  request.sampling.temperature = 1;
  request.tool_choice = {ToolChoice::Kind::named, "look"};
  for (uint64_t seed = 0; seed < 5; ++seed) {
    request.sampling.seed = seed;
    const Local::Result result = local.run(request);
    EXPECT_EQ(result.reasons[0], EndReason::calls);
    EXPECT_NE(result.texts[0].find("look{"), std::string::npos)
        << result.texts[0];  // perhaps after reasoning
  }
  request.tool_choice.name = "hide";
  EXPECT_EQ(subject_of([&] { local.run(request); }), "tool_choice");
  request.tool_choice.name = "look";
  request.max_tokens = 3;
  EXPECT_EQ(subject_of([&] { local.run(request); }), "max_tokens");
  request.chat->tools = Json();
  EXPECT_EQ(subject_of([&] { local.run(request); }), "tool_choice");
}

TEST(LocalCompleter, CancelEndsAllChoices) {
  Local local;
  CompletionRequest request = chat_of("q", 400);
  request.n = 2;
  const Local::Result result = local.run(request, 3);
  EXPECT_EQ(result.reasons, (std::vector{EndReason::cancelled, EndReason::cancelled}));
  EXPECT_LT(result.usage.output_tokens, 800);
  EXPECT_EQ(local.run(chat_of("q", 3)).reasons[0], EndReason::length);
}

TEST(LocalCompleter, TheContextIsEachRequestsOwn) {
  Local local(kTemplate, 64);
  const Local::Result result = local.run(text_of("hello", -1));
  EXPECT_EQ(result.reasons[0], EndReason::length);
  EXPECT_EQ(result.usage.prompt_tokens + result.usage.output_tokens, 64);
  const std::string long_text(500, 'x');
  EXPECT_EQ(subject_of([&] { local.run(text_of(long_text, 1)); }), "prompt");
  EXPECT_EQ(subject_of([&] { local.run(chat_of(long_text, 1)); }), "messages");
}

TEST(LocalCompleter, LogprobsAreOnePerTokenOfTheAnswer) {
  Local local;
  CompletionRequest request = text_of("hello", 9);
  request.sampling.logprobs = 2;
  const Local::Result result = local.run(request);
  ASSERT_EQ(result.logprobs[0].size(), 9u);
  for (const TokenLogprob& one : result.logprobs[0]) {
    EXPECT_EQ(one.top.size(), 2u);
    EXPECT_EQ(one.bytes, one.top[0].first) << "greedy";
  }
  // The token that comes first, as a stop token: none of the answer.
  request.sampling.logit_bias = {{100, 100.0f}};
  request.stop_tokens = {100};
  const Local::Result stopped = local.run(request);
  EXPECT_EQ(stopped.reasons[0], EndReason::stop);
  EXPECT_TRUE(stopped.logprobs[0].empty());
}

TEST(LocalCompleter, RefusesASecondPromptBeforeTheFirstBegins) {
  Local local;
  CompletionRequest request = text_of("a", 1);
  request.prompts.push_back({{}, {1, model().config.vocab}, {}});
  std::atomic<int> events = 0;
  const std::string wrong =
      subject_of([&] { local.completer->submit(request, [&](const CompletionEvent&) { ++events; }); });
  EXPECT_EQ(wrong, "prompt");
  EXPECT_EQ(events, 0);
  request.prompts[1].tokens = {1, -1};
  EXPECT_EQ(subject_of([&] { local.run(request); }), "prompt");
  request.prompts[1].tokens = {1, model().config.vocab - 1};
  EXPECT_EQ(local.run(request).texts.size(), 2u);
}

TEST(LocalCompleter, RefusesWhatItCannotDo) {
  Local local;
  CompletionRequest request = text_of("a", 1);
  request.prompts[0].suffix = "z";
  EXPECT_EQ(subject_of([&] { local.run(request); }), "suffix");
  request = text_of("a", 1);
  request.prompts[0].tokens = {100000};
  EXPECT_EQ(subject_of([&] { local.run(request); }), "prompt");
  request = text_of("a", 1);
  request.sampling.logit_bias = {{100000, 1.0f}};
  EXPECT_NE(subject_of([&] { local.run(request); }), "nothing");
}

}  // namespace
}  // namespace minke

#include "api/openai.h"

#include <cmath>

#include "api/test_dialect.h"

namespace minke {
namespace {

const ModelCard kCard{"m", {}, 0, 512};

Exchange chat(const std::string& members) { return read_chat(parse_json("{" + members + "}"), kCard); }
Exchange text(const std::string& members) { return read_text(parse_json("{" + members + "}"), kCard); }

TEST(OpenAiChat, ReadsWhatIsHonoured) {
  const Exchange e = chat(kMessages +
                          R"(,"model":"m","stream":true,"n":3,"seed":7,"temperature":0.5,"top_p":0.9,
    "top_k":40,"min_p":0.1,"presence_penalty":0.2,"frequency_penalty":-0.3,"repetition_penalty":1.1,
    "logit_bias":{"5":-100,"17":2.5},"logprobs":true,"top_logprobs":4,"stop":["a","b"],"max_tokens":9,
    "max_completion_tokens":8,"tool_choice":"none","parallel_tool_calls":false,"reasoning_effort":"none",
    "tools":[)" + kTool + "]");
  const CompletionRequest& r = e.request;
  EXPECT_TRUE(e.stream);
  EXPECT_EQ(e.model, "m");
  EXPECT_EQ(r.n, 3);
  EXPECT_EQ(r.sampling.seed, 7u);
  EXPECT_EQ(r.sampling.temperature, 0.5f);
  EXPECT_EQ(r.sampling.top_k, 40);
  EXPECT_EQ(r.sampling.frequency_penalty, -0.3f);
  EXPECT_EQ(r.sampling.logit_bias, (std::vector<std::pair<Token, float>>{{5, -100.0f}, {17, 2.5f}}));
  EXPECT_EQ(r.sampling.logprobs, 4);
  EXPECT_EQ(r.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(r.max_tokens, 8);
  EXPECT_EQ(r.tool_choice, ToolChoice{ToolChoice::Kind::none});
  EXPECT_FALSE(r.parallel_calls);
  EXPECT_EQ(r.chat->kwargs.at("enable_thinking"), Json(false));
  EXPECT_EQ(r.chat->tools.as_array().size(), 1u);
}

TEST(OpenAiChat, AnEmptyRequestIsNeutral) {
  const Exchange e = chat(kMessages + R"(,"temperature":null,"stop":null,"response_format":{"type":"text"})");
  EXPECT_FALSE(e.stream);
  EXPECT_EQ(e.request.max_tokens, -1);
  EXPECT_FALSE(e.request.sampling.temperature);
  EXPECT_FALSE(e.request.sampling.seed);
  EXPECT_EQ(e.request.sampling.logprobs, -1);
}

TEST(OpenAiChat, RefusesNamingTheField) {
  const auto refused = [](const std::string& members) {
    return subject_of([&] { chat(kMessages + "," + members); });
  };
  EXPECT_EQ(refused(R"("response_format":{"type":"json_object"})"), "response_format");
  EXPECT_EQ(refused(R"("response_format":{"type":"json_schema","json_schema":{}})"), "response_format");
  EXPECT_EQ(refused(R"("wish":1)"), "wish");
  EXPECT_EQ(refused(R"("n":1000000000)"), "n");
  EXPECT_EQ(refused(R"("n":1e9)"), "n");
  EXPECT_EQ(refused(R"("n":1.5)"), "n");
  EXPECT_EQ(refused(R"("max_tokens":-1)"), "max_tokens");
  EXPECT_EQ(refused(R"("max_tokens":0)"), "max_tokens");
  EXPECT_EQ(refused(R"("max_tokens":1e300)"), "max_tokens");
  EXPECT_EQ(refused(R"("max_tokens":99999999999999999999)"), "max_tokens");
  EXPECT_EQ(refused(R"("temperature":-0.1)"), "temperature");
  EXPECT_EQ(refused(R"("temperature":"hot")"), "temperature");
  EXPECT_EQ(refused(R"("top_logprobs":3)"), "top_logprobs");
  EXPECT_EQ(refused(R"("logprobs":true,"top_logprobs":21)"), "top_logprobs");
  EXPECT_EQ(refused(R"("logit_bias":{"x":1})"), "logit_bias");
  EXPECT_EQ(refused(R"("logit_bias":{"5":101})"), "logit_bias.5");
  EXPECT_EQ(refused(R"("stop":[""])"), "stop[0]");
  EXPECT_EQ(refused(R"("stop":[1])"), "stop[0]");
  EXPECT_EQ(refused(R"("stream_options":{"x":1})"), "stream_options.x");
  EXPECT_EQ(refused(R"("tool_choice":"maybe")"), "tool_choice");
  EXPECT_EQ(refused(R"("tools":[{"type":"function","function":{"name":"f","strict":true}}])"),
            "tools[0].function.strict");
  EXPECT_EQ(subject_of([] { chat(R"("model":"m")"); }), "messages");
  EXPECT_EQ(subject_of([] { chat(R"("messages":[{"role":"user","content":[{"type":"image_url"}]}])"); }),
            "messages[0].content[0].type");
  EXPECT_EQ(subject_of([] { read_chat(parse_json("[]"), kCard); }), "request");
}

TEST(OpenAiChat, TenThousandStopStringsAreTooMany) {
  std::string list = R"("x")";
  for (int i = 1; i < 10'000; ++i) list += R"(,"x")";
  EXPECT_EQ(subject_of([&] { chat(kMessages + ",\"stop\":[" + list + "]"); }), "stop");
}

TEST(OpenAiChat, WritesAnAnswer) {
  ScriptedCompleter completer;
  const Written w = write(chat(kMessages + R"(,"stream_options":{"include_usage":true})"), completer);
  const Json& choice = w.whole.at("choices").as_array()[0];
  EXPECT_EQ(w.whole.at("object"), Json("chat.completion"));
  EXPECT_EQ(choice.at("message").at("content"), Json("Hello"));
  EXPECT_EQ(choice.at("finish_reason"), Json("stop"));
  EXPECT_EQ(w.whole.at("usage"), parse_json(R"({"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,
    "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}})"));
  ASSERT_EQ(w.events.size(), 6u);  // the role, two pieces, the end, the usage, [DONE]
  EXPECT_EQ(w.events[0].json().at("choices").as_array()[0].at("delta").at("role"), Json("assistant"));
  EXPECT_EQ(w.events[2].json().at("choices").as_array()[0].at("delta").at("content"), Json("lo"));
  EXPECT_EQ(w.events[3].json().at("choices").as_array()[0].at("finish_reason"), Json("stop"));
  EXPECT_TRUE(w.events[3].json().at("usage").is_null());
  EXPECT_EQ(w.events[4].json().at("usage"), w.whole.at("usage"));
  EXPECT_EQ(w.events[5].data, "[DONE]");
}

TEST(OpenAiChat, WritesReasoningAndCalls) {
  ScriptedCompleter completer;
  completer.parts = {thinking_calls()};
  completer.reason = EndReason::calls;
  const Written w = write(chat(kMessages), completer);
  const Json& choice = w.whole.at("choices").as_array()[0];
  EXPECT_EQ(choice.at("message").at("reasoning_content"), Json("Let me see."));
  const JsonArray& calls = choice.at("message").at("tool_calls").as_array();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].at("function").at("arguments"), Json(R"({"a":1})"));
  EXPECT_EQ(choice.at("finish_reason"), Json("tool_calls"));

  std::string ids[2], arguments[2];
  for (const SseEvent& event : w.events) {
    if (event.data == "[DONE]") continue;
    const Json delta = event.json().at("choices").as_array()[0].at("delta");
    if (!delta.find("tool_calls")) continue;
    const Json& call = delta.at("tool_calls").as_array()[0];
    const auto at = static_cast<size_t>(call.at("index").as_int());
    if (const Json* id = call.find("id")) {
      EXPECT_TRUE(ids[at].empty()) << "id and name come once, first";
      EXPECT_EQ(call.at("function").at("name"), Json("look"));
      ids[at] = id->as_string();
    }
    arguments[at] += call.at("function").at("arguments").as_string();
  }
  EXPECT_EQ(arguments[0], R"({"a":1})");
  EXPECT_EQ(arguments[1], "{}");
  EXPECT_EQ(calls[0].at("id"), Json(ids[0]));
  EXPECT_NE(ids[0], ids[1]);
}

TEST(OpenAiChat, AMalformedCallIsTextWithAFlag) {
  using K = AnswerEvent::Kind;
  ScriptedCompleter completer;
  completer.parts = {
      {{K::call, 0, "look"}, {K::arguments, 0, "{\"a"}, {K::call_broken, 0, ""}, {K::content, 0, "<x"}}};
  completer.malformed_call = "no JSON";
  const Written w = write(chat(kMessages), completer);
  const Json& choice = w.whole.at("choices").as_array()[0];
  EXPECT_EQ(choice.at("message").find("tool_calls"), nullptr);
  EXPECT_EQ(choice.at("message").at("content"), Json("<x"));
  EXPECT_EQ(choice.at("malformed_tool_call"), Json("no JSON"));
  EXPECT_EQ(choice.at("finish_reason"), Json("stop"));
}

TEST(OpenAiChat, WritesLogprobs) {
  ScriptedCompleter completer;
  completer.logprobs = {{"\xC3", -0.5f, {{"\xC3", -0.5f}, {"x", -INFINITY}}}};
  const Written w = write(chat(kMessages + R"(,"logprobs":true,"top_logprobs":2)"), completer);
  const Json& entry = w.whole.at("choices").as_array()[0].at("logprobs").at("content").as_array()[1];
  EXPECT_EQ(entry.at("bytes"), parse_json("[195]"));
  EXPECT_EQ(entry.at("logprob"), Json(-0.5));
  EXPECT_EQ(entry.at("top_logprobs").as_array()[1].at("logprob"), Json(-9999.0));
}

TEST(OpenAiText, ReadsPrompts) {
  EXPECT_EQ(text(R"("prompt":"a")").request.prompts, (std::vector<PlainPrompt>{{"a", {}, {}}}));
  EXPECT_EQ(text(R"("prompt":["a","b"])").request.prompts.size(), 2u);
  EXPECT_EQ(text(R"("prompt":[1,2])").request.prompts, (std::vector<PlainPrompt>{{"", {1, 2}, {}}}));
  EXPECT_EQ(text(R"("prompt":[[1],[2]])").request.prompts.size(), 2u);
  EXPECT_EQ(text(R"("prompt":"a","suffix":"z")").request.prompts[0].suffix, "z");
  EXPECT_EQ(text(R"("prompt":"a")").request.max_tokens, 16);
  for (const char* bad :
       {R"("prompt":[])", R"("prompt":[[]])", R"("prompt":[1,"a"])", R"("prompt":[-1])",
        R"("prompt":["a"],"n":64,"best_of":2)", R"("prompt":["a","b"],"n":64)",
        R"("prompt":"a","echo":true,"logprobs":1)", R"("prompt":[1],"suffix":"z")", R"("n":1)"})
    EXPECT_NE(subject_of([&] { text(bad); }), "nothing") << bad;
}

TEST(OpenAiText, WritesChoices) {
  ScriptedCompleter completer;
  completer.parts = {{{AnswerEvent::Kind::content, 0, "x"}}, {{AnswerEvent::Kind::content, 0, "y"}}};
  const Written w = write(text(R"("prompt":["a","b"],"echo":true)"), completer);
  EXPECT_EQ(w.whole.at("choices").as_array()[0].at("text"), Json("ax"));
  EXPECT_EQ(w.whole.at("choices").as_array()[1].at("text"), Json("by"));
  std::string second;
  for (const SseEvent& event : w.events) {
    if (event.data == "[DONE]") continue;
    const Json json = event.json();
    for (const Json& choice : json.at("choices").as_array())
      if (choice.at("index") == Json(1)) second += choice.at("text").as_string();
  }
  EXPECT_EQ(second, "by");
}

TEST(OpenAi, FaultsHaveItsShape) {
  const Json json = openai_fault({Fault::Kind::not_found, "no", "model", "model_not_found"});
  EXPECT_EQ(json, parse_json(R"({"error":{"message":"no","type":"not_found_error","param":"model",
    "code":"model_not_found"}})"));
}

}  // namespace
}  // namespace minke

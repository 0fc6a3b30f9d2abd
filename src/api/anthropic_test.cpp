#include "api/anthropic.h"

#include "api/test_dialect.h"

namespace minke {
namespace {

const ModelCard kCard{"m", {}, 0, 512};
const std::string kHead = R"("model":"m","max_tokens":9)";

Exchange messages(const std::string& members) {
  return read_messages(parse_json("{" + members + "}"), kCard);
}

TEST(Anthropic, ReadsAConversation) {
  const Exchange e =
      messages(kHead + R"(,"system":[{"type":"text","text":"S","cache_control":{"type":"ephemeral"}}],
    "thinking":{"type":"enabled","budget_tokens":1024},"stop_sequences":["x"],"temperature":0.5,"top_k":3,
    "tool_choice":{"type":"auto","disable_parallel_tool_use":true},
    "tools":[{"name":"look","description":"d","input_schema":{"type":"object"}}],
    "messages":[{"role":"user","content":"q"},
      {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"text","text":"a"},
        {"type":"tool_use","id":"1","name":"look","input":{"k":2}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"r"}]},
        {"type":"text","text":"more"}]}])");
  EXPECT_EQ(e.request.chat->messages,
            parse_json(R"([{"role":"system","content":"S"},{"role":"user","content":"q"},
    {"role":"assistant","content":"a","reasoning_content":"t",
     "tool_calls":[{"id":"1","type":"function","function":{"name":"look","arguments":{"k":2}}}]},
    {"role":"tool","tool_call_id":"1","content":"r"},{"role":"user","content":"more"}])"));
  EXPECT_EQ(e.request.chat->kwargs.at("enable_thinking"), Json(true));
  EXPECT_FALSE(e.request.parallel_calls);
  EXPECT_EQ(e.request.max_tokens, 9);
  EXPECT_EQ(e.request.stop, std::vector<std::string>{"x"});
}

TEST(Anthropic, RefusesNamingTheField) {
  const auto refused = [](const std::string& members) { return subject_of([&] { messages(members); }); };
  EXPECT_EQ(refused(R"("model":"m",)" + kMessages), "max_tokens");
  EXPECT_EQ(refused(R"("max_tokens":1,)" + kMessages), "model");
  EXPECT_EQ(refused(kHead), "messages");
  EXPECT_EQ(refused(kHead + R"(,"messages":[])"), "messages");
  EXPECT_EQ(refused(kHead + R"(,"messages":[{"role":"user","content":[{"type":"image","source":{}}]}])"),
            "messages[0].content[0].type");
  EXPECT_EQ(
      refused(kHead + R"(,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}])"),
      "messages");
  EXPECT_EQ(refused(kHead + "," + kMessages + R"(,"output_config":{"format":{"type":"json_schema"}})"),
            "output_config.format");
  EXPECT_EQ(refused(kHead + "," + kMessages + R"(,"tools":[{"type":"web_search_20250305","name":"w"}])"),
            "tools[0].type");
  EXPECT_EQ(refused(kHead + "," + kMessages + R"(,"wish":1)"), "wish");
  EXPECT_EQ(refused(kHead + "," + kMessages + R"(,"temperature":1.5)"), "temperature");
}

TEST(Anthropic, WritesBlocksInOrder) {
  ScriptedCompleter completer;
  completer.parts = {thinking_calls()};
  completer.reason = EndReason::calls;
  const Written w = write(messages(kHead + "," + kMessages), completer);
  const JsonArray& blocks = w.whole.at("content").as_array();
  ASSERT_EQ(blocks.size(), 4u);
  EXPECT_EQ(blocks[0].at("thinking"), Json("Let me see."));
  EXPECT_EQ(blocks[1].at("text"), Json("Looking."));
  EXPECT_EQ(blocks[2].at("input"), parse_json(R"({"a":1})"));
  EXPECT_EQ(w.whole.at("stop_reason"), Json("tool_use"));
  EXPECT_EQ(w.whole.at("usage"), parse_json(R"({"input_tokens":6,"cache_creation_input_tokens":0,
    "cache_read_input_tokens":4,"output_tokens":5})"));

  ASSERT_EQ(w.events.front().name, "message_start");
  EXPECT_EQ(w.events.front().json().at("message").at("usage").at("input_tokens"), Json(6));
  EXPECT_EQ(w.events.front().json().at("message").at("usage").at("cache_read_input_tokens"), Json(4));

  int64_t open = -1, next = 0;
  for (const SseEvent& event : w.events) {
    const Json json = event.json();
    EXPECT_EQ(json.at("type"), Json(event.name));
    if (event.name == "content_block_start") {
      EXPECT_EQ(open, -1);
      EXPECT_EQ(json.at("index"), Json(next));
      open = next++;
    } else if (event.name == "content_block_delta") {
      EXPECT_EQ(json.at("index"), Json(open));
    } else if (event.name == "content_block_stop") {
      EXPECT_EQ(json.at("index"), Json(open));
      open = -1;
    }
  }
  EXPECT_EQ(next, 4);
  EXPECT_EQ(open, -1);
  EXPECT_EQ(w.events.front().name, "message_start");
  EXPECT_EQ(w.events.back().name, "message_stop");
}

TEST(Anthropic, ACallThatRepeatsAKeyIsOneAllTheSame) {
  using K = AnswerEvent::Kind;
  ScriptedCompleter completer;
  completer.parts = {{{K::call, 0, "look"}, {K::arguments, 0, R"({"a":1,"a":2})"}, {K::call_end, 0, ""}}};
  completer.reason = EndReason::calls;
  const Written w = write(messages(kHead + "," + kMessages), completer);
  EXPECT_EQ(w.whole.at("content").as_array().at(0).at("input"), parse_json(R"({"a":2})"));
  EXPECT_EQ(w.events.back().name, "message_stop");
}

// So that it is known again when it comes back in a conversation.
TEST(Anthropic, TextBesideACallThatIsNoneIsOneText) {
  using K = AnswerEvent::Kind;
  ScriptedCompleter completer;
  completer.parts = {{{K::content, 0, "Well"},
                      {K::call, 0, "look"},
                      {K::arguments, 0, R"({"a)"},
                      {K::call_broken, 0, ""},
                      {K::content, 0, "\n<tool_call>"},
                      {K::call, 1, "look"},
                      {K::arguments, 1, "{"},
                      {K::call_broken, 1, ""},
                      {K::content, 0, "?"}}};
  const Written w = write(messages(kHead + "," + kMessages), completer);
  const JsonArray& blocks = w.whole.at("content").as_array();
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(blocks[0].at("text"), Json("Well\n<tool_call>?"));
}

TEST(Anthropic, SaysWhyItStopped) {
  ScriptedCompleter completer;
  completer.stop = "x";
  EXPECT_EQ(write(messages(kHead + "," + kMessages), completer).whole.at("stop_reason"),
            Json("stop_sequence"));
  completer.stop.clear();
  EXPECT_EQ(write(messages(kHead + "," + kMessages), completer).whole.at("stop_reason"), Json("end_turn"));
  completer.reason = EndReason::length;
  EXPECT_EQ(write(messages(kHead + "," + kMessages), completer).whole.at("stop_reason"), Json("max_tokens"));
}

TEST(Anthropic, FaultsHaveItsShape) {
  EXPECT_EQ(
      anthropic_fault({Fault::Kind::busy, "later"}, "r"),
      parse_json(
          R"({"type":"error","error":{"type":"rate_limit_error","message":"later"},"request_id":"r"})"));
}

}  // namespace
}  // namespace minke

#include "api/responses.h"

#include "api/responses_request.h"
#include "api/test_dialect.h"

namespace minke {
namespace {

const ModelCard kCard{"m", {}, 0, 512};

Json none(const std::string&) { throw Error("there is none", "previous_response_id"); }

ResponsesExchange respond(const std::string& members, const EarlierMessages& earlier = none) {
  return read_responses(parse_json("{" + members + "}"), kCard, earlier);
}

TEST(Responses, ReadsItems) {
  const ResponsesExchange e = respond(R"("instructions":"I","max_output_tokens":5,"input":[
    {"role":"user","content":[{"type":"input_text","text":"q"}]},
    {"type":"reasoning","id":"rs","summary":[],"content":[{"type":"reasoning_text","text":"t"}]},
    {"type":"message","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[]}]},
    {"type":"function_call","call_id":"1","name":"look","arguments":"{}"},
    {"type":"function_call_output","call_id":"1","output":"r"}])");
  EXPECT_EQ(e.exchange.request.chat->messages, parse_json(R"([{"role":"system","content":"I"},
    {"role":"user","content":"q"},
    {"role":"assistant","content":"a","reasoning_content":"t",
     "tool_calls":[{"id":"1","type":"function","function":{"name":"look","arguments":"{}"}}]},
    {"role":"tool","tool_call_id":"1","content":"r"}])"));
  EXPECT_EQ(e.messages.as_array().size(), 3u);  // without the instructions
  EXPECT_TRUE(e.store);
}

TEST(Responses, GoesOnFromAnEarlierOne) {
  const auto earlier = [](const std::string& id) {
    EXPECT_EQ(id, "resp_1");
    return parse_json(R"([{"role":"user","content":"before"}])");
  };
  const ResponsesExchange e =
      respond(R"("input":"q","previous_response_id":"resp_1","store":false)", earlier);
  EXPECT_EQ(e.messages, parse_json(R"([{"role":"user","content":"before"},{"role":"user","content":"q"}])"));
  EXPECT_FALSE(e.store);
  EXPECT_EQ(subject_of([] { respond(R"("input":"q","previous_response_id":"x")"); }), "previous_response_id");
}

TEST(Responses, RefusesNamingTheField) {
  const auto refused = [](const std::string& members) { return subject_of([&] { respond(members); }); };
  EXPECT_EQ(refused(R"("model":"m")"), "input");
  EXPECT_EQ(refused(R"("input":[])"), "messages");
  EXPECT_EQ(refused(R"("input":[{"type":"item_reference","id":"x"}])"), "input[0].type");
  EXPECT_EQ(refused(R"("input":"q","text":{"format":{"type":"json_object"}})"), "text.format");
  EXPECT_EQ(refused(R"("input":"q","tools":[{"type":"web_search"}])"), "tools[0].type");
  EXPECT_EQ(refused(R"("input":"q","tools":[{"type":"function","name":"f","strict":true}])"),
            "tools[0].strict");
  EXPECT_EQ(refused(R"("input":"q","background":true)"), "background");
  EXPECT_EQ(refused(R"("input":"q","truncation":"auto")"), "truncation");
}

TEST(Responses, WritesItemsInOrder) {
  ScriptedCompleter completer;
  completer.parts = {thinking_calls()};
  completer.reason = EndReason::calls;
  ResponsesExchange e = respond(R"("input":"q")");
  const auto message = e.message;
  std::string text = e.exchange.writer->begin();
  completer.submit(e.exchange.request,
                   [&](const CompletionEvent& event) { text += e.exchange.writer->event(event); });
  const Json whole = e.exchange.writer->whole();
  EXPECT_EQ(whole.at("status"), Json("completed"));
  const JsonArray& items = whole.at("output").as_array();
  ASSERT_EQ(items.size(), 4u);
  EXPECT_EQ(items[0].at("content").as_array()[0].at("text"), Json("Let me see."));
  EXPECT_EQ(items[1].at("content").as_array()[0].at("text"), Json("Looking."));
  EXPECT_EQ(items[2].at("arguments"), Json(R"({"a":1})"));
  EXPECT_EQ(message().at("tool_calls").as_array().size(), 2u);

  const std::vector<SseEvent> events = sse_events(text);
  int64_t number = 0, done = 0;
  for (const SseEvent& event : events) {
    const Json json = event.json();
    EXPECT_EQ(json.at("type"), Json(event.name));
    EXPECT_EQ(json.at("sequence_number"), Json(number++));
    if (event.name == "response.output_item.done") {
      EXPECT_EQ(json.at("output_index"), Json(done));
      EXPECT_EQ(json.at("item"), items[static_cast<size_t>(done++)]);
    }
  }
  EXPECT_EQ(done, 4);
  EXPECT_EQ(events.front().name, "response.created");
  EXPECT_EQ(events.back().name, "response.completed");
  EXPECT_EQ(events.back().json().at("response"), whole);
}

TEST(Responses, ACutAnswerIsIncomplete) {
  ScriptedCompleter completer;
  completer.reason = EndReason::length;
  const Json whole = write(std::move(respond(R"("input":"q")").exchange), completer).whole;
  EXPECT_EQ(whole.at("status"), Json("incomplete"));
  EXPECT_EQ(whole.at("incomplete_details").at("reason"), Json("max_output_tokens"));
}

TEST(Responses, NamespacesOfFunctionsAreTakenApartAndNamedAgain) {
  const std::string tools = R"([{"type":"namespace","name":"n","description":"d","tools":[
    {"type":"function","name":"look","parameters":{"type":"object"},"strict":false}]}])";
  ScriptedCompleter completer;
  completer.parts = {thinking_calls()};
  completer.reason = EndReason::calls;
  ResponsesExchange e = read_responses(parse_json(R"({"input":"q","tools":)" + tools + "}"), completer.card(),
                                       [](const std::string&) { return Json(); });
  EXPECT_EQ(e.exchange.request.chat->tools, parse_json("[" + kTool + "]"));
  const Json last = write(std::move(e.exchange), completer).whole.at("output").as_array().back();
  EXPECT_EQ(last.at("name"), Json("look"));
  EXPECT_EQ(last.at("namespace"), Json("n"));
  const Json call = JsonObject{
      {"type", "function_call"}, {"call_id", "1"}, {"name", "look"}, {"arguments", "{}"}, {"namespace", "n"}};
  EXPECT_EQ(read_input(JsonArray{call})[0].at("tool_calls").as_array().size(), 1u);
}

}  // namespace
}  // namespace minke

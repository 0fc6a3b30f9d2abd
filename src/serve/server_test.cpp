#include "serve/server.h"

#include <atomic>
#include <cctype>
#include <thread>

#include "serve/test_server.h"

namespace minke {
namespace {

Json json_of(const HttpResponse& response) { return parse_json(response.body); }

std::string header_of(const HttpResponse& response, std::string_view name) {
  const std::string* value = response.header(name);
  return value ? *value : std::string();
}

TEST(Server, AnswersInEachDialect) {
  const TestServer server;
  const HttpResponse chat = server.post("/v1/chat/completions", kChat);
  EXPECT_EQ(chat.status, 200) << chat.body;
  EXPECT_EQ(json_of(chat).at("choices").as_array()[0].at("message").at("content"), Json("Hello"));
  const HttpResponse text = server.post("/v1/completions", R"({"prompt":"x"})");
  EXPECT_EQ(json_of(text).at("choices").as_array()[0].at("text"), Json("Hello"));
  const HttpResponse message = server.post(
      "/v1/messages", R"({"model":"scripted","max_tokens":9,"messages":[{"role":"user","content":"q"}]})");
  EXPECT_EQ(json_of(message).at("content").as_array()[0].at("text"), Json("Hello"));
  const HttpResponse count = server.post(
      "/v1/messages/count_tokens", R"({"model":"scripted","messages":[{"role":"user","content":"q"}]})");
  EXPECT_EQ(json_of(count), parse_json(R"({"input_tokens":3})"));
  const Json embedded = parse_json(server.post("/v1/embeddings", R"({"input":["x","y"]})").body);
  EXPECT_EQ(embedded.at("data").as_array().size(), 2u);
  EXPECT_EQ(embedded.at("data").as_array()[1].at("index"), Json(1));
  EXPECT_EQ(server.post("/v1/embeddings", R"({"input":"x","dimensions":3})").status, 400);
}

TEST(Server, Streams) {
  const TestServer server;
  const HttpResponse response = server.post("/v1/chat/completions", kStreamedChat);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(header_of(response, "Content-Type"), "text/event-stream");
  std::string text;
  const std::vector<SseEvent> events = sse_events(response.body);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back().data, "[DONE]");
  for (const SseEvent& event : events)
    if (event.data != "[DONE]")
      if (const Json delta = event.json().at("choices").as_array()[0].at("delta"); delta.find("content"))
        text += delta.at("content").as_string();
  EXPECT_EQ(text, "Hello");
}

TEST(Server, HeadersComeBeforeTheFirstToken) {
  TestServer server;
  server.script->waiting = true;
  bool seen = false;
  HttpRequest request;
  request.method = "POST";
  request.url = server.url("/v1/chat/completions");
  request.body = kStreamedChat;
  request.on_body = [&](const HttpResponse& response, Bytes) { seen = response.status == 200; };
  request.canceled = [&] { return seen; };
  HttpClient().request(request);
  EXPECT_TRUE(seen);
  EXPECT_TRUE(soon([&] { return server.script->cancelled() == 1; })) << "a client that is gone cancels";
  EXPECT_TRUE(soon([&] { return server.log().find(" 499 ") != std::string::npos; })) << server.log();
}

TEST(Server, AClientThatGoesWithoutAnAnswerCancels) {
  TestServer server;
  server.script->waiting = true;
  HttpRequest request;
  request.method = "POST";
  request.url = server.url("/v1/chat/completions");
  request.body = kChat;
  request.canceled = [&] { return server.script->submitted() > 0; };
  HttpClient().request(request);
  EXPECT_TRUE(soon([&] { return server.script->cancelled() == 1; }));
}

TEST(Server, FaultsHaveTheShapeOfTheirDialect) {
  const TestServer server;
  const HttpResponse chat = server.post("/v1/chat/completions", R"({"messages":[],"n":0})");
  EXPECT_EQ(chat.status, 400);
  EXPECT_EQ(json_of(chat).at("error").at("type"), Json("invalid_request_error"));
  EXPECT_EQ(json_of(chat).at("error").at("param"), Json("messages"));
  const HttpResponse message = server.post("/v1/messages", "{}");
  EXPECT_EQ(message.status, 400);
  EXPECT_EQ(json_of(message).at("type"), Json("error"));
  EXPECT_EQ(json_of(message).at("request_id"), Json(header_of(message, "request-id")));
  EXPECT_EQ(server.post("/v1/chat/completions", "{").status, 400);
  EXPECT_EQ(server.get("/nowhere").status, 404);
  const HttpResponse method = server.get("/v1/chat/completions");
  EXPECT_EQ(method.status, 405);
  EXPECT_NE(method.body.find("POST"), std::string::npos);
  const HttpResponse model =
      server.post("/v1/chat/completions", R"({"model":"gpt-9","messages":[{"role":"user","content":"q"}]})");
  EXPECT_EQ(model.status, 404);
  EXPECT_EQ(json_of(model).at("error").at("code"), Json("model_not_found"));
  // Found by the completer, after the dialect has read it.
  EXPECT_EQ(server.post("/v1/completions", R"({"prompt":"x","max_tokens":4242,"stream":true})").status, 400);
}

TEST(Server, AFailureInTheMiddleIsSaid) {
  TestServer server;
  server.script->fault = {Fault::Kind::internal, "the disk is gone"};
  const HttpResponse whole = server.post("/v1/chat/completions", kChat);
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(json_of(whole).at("error").at("message"), Json("the disk is gone"));
  const HttpResponse streamed = server.post("/v1/chat/completions", kStreamedChat);
  EXPECT_EQ(streamed.status, 200);
  EXPECT_EQ(sse_events(streamed.body).back().json().at("error").at("message"), Json("the disk is gone"));
}

TEST(Server, AbuseIsRefusedAndTheServerStaysWell) {
  const TestServer server;
  const auto refused = [&](const std::string& body) {
    return server.post("/v1/chat/completions", body).status;
  };
  EXPECT_EQ(refused(std::string(100'000, '[')), 400);
  EXPECT_EQ(refused(std::string(100'000, '[') + std::string(100'000, ']')), 400);
  std::string nested = R"({"messages":)";
  for (int i = 0; i < 100'000; ++i) nested += R"({"a":)";
  EXPECT_EQ(refused(nested), 400);
  EXPECT_EQ(refused("{\"messages\":[{\"role\":\"user\",\"content\":\"\xC3\x28\"}]}"), 400);
  EXPECT_EQ(refused(R"({"messages":[{"role":"user","content":"\ud800"}]})"), 400);
  EXPECT_EQ(refused(R"({"messages":[{"role":"user","content":"q"}],"n":1e9})"), 400);
  EXPECT_EQ(refused(R"({"messages":[{"role":"user","content":"q"}],"max_tokens":-1})"), 400);
  EXPECT_EQ(refused(R"({"messages":[{"role":"user","content":"q"}],"temperature":1e400})"), 400);
  EXPECT_EQ(refused(R"({"messages":[{"role":"user","content":"q"}],"messages":[]})"), 400);
  EXPECT_EQ(server.get("/v1/models/..%2f..%2fetc%2fpasswd").status, 400);
  EXPECT_EQ(server.get("/health").status, 200);
}

TEST(Server, WhileLoadingItSaysSo) {
  TestServer server({}, false);
  EXPECT_EQ(server.get("/health").status, 503);
  const HttpResponse chat = server.post("/v1/chat/completions", kChat);
  EXPECT_EQ(chat.status, 503);
  EXPECT_FALSE(header_of(chat, "Retry-After").empty());
  EXPECT_EQ(server.get("/v1/models").status, 503);
  EXPECT_EQ(server.get("/openapi.json").status, 200);
  server.make_ready();
  EXPECT_EQ(server.get("/health").status, 200);
}

TEST(Server, AFullQueueTurnsAway) {
  ServeOptions options;
  options.parallel = 1;
  options.queue = 1;
  TestServer server(std::move(options));
  server.script->waiting = true;
  std::atomic<bool> end = false;
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i)
    clients.emplace_back([&] {
      HttpRequest request;
      request.method = "POST";
      request.url = server.url("/v1/chat/completions");
      request.body = kChat;
      request.canceled = [&] { return end.load(); };
      HttpClient().request(request);
    });
  EXPECT_TRUE(soon([&] { return server.script->submitted() == 2; }));
  const HttpResponse third = server.post("/v1/chat/completions", kChat);
  EXPECT_EQ(third.status, 429);
  EXPECT_FALSE(header_of(third, "Retry-After").empty());
  end = true;
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(soon([&] { return server.script->cancelled() == 2; }));
  server.script->waiting = false;
  EXPECT_EQ(server.post("/v1/chat/completions", kChat).status, 200);
}

TEST(Server, RequestIdsAreKeptAndPromptsAreNotLogged) {
  const TestServer server;
  const HttpResponse own = server.post("/v1/chat/completions", kChat, {{"x-request-id", "mine-1"}});
  EXPECT_EQ(header_of(own, "x-request-id"), "mine-1");
  const HttpResponse odd = server.post("/v1/chat/completions", kChat, {{"x-request-id", "a b<c>"}});
  EXPECT_TRUE(header_of(odd, "x-request-id").starts_with("req_"));
  EXPECT_TRUE(soon([&] { return server.log().find("mine-1") != std::string::npos; }));
  EXPECT_NE(server.log().find("prompt=10 cached=4 output=5"), std::string::npos) << server.log();
  EXPECT_EQ(server.log().find("secret"), std::string::npos);
}

TEST(Server, MetricsCount) {
  const TestServer server;
  server.post("/v1/chat/completions", kChat);
  server.get("/nowhere");
  const std::string text = server.get("/metrics").body;
  for (const char* line :
       {"minke:request_success_total{model_name=\"scripted\",finished_reason=\"stop\"} 1\n",
        "minke:time_to_first_token_seconds_count{model_name=\"scripted\"} 1\n",
        "minke:request_prompt_tokens_sum{model_name=\"scripted\"} 10\n", "minke:num_requests_running{",
        "minke:http_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 1\n",
        "minke:http_requests_total{route=\"unknown\",status=\"404\"} 1\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
}

TEST(Server, TheDescriptionIsOfTheRoutes) {
  const TestServer server;
  const Json document = json_of(server.get("/openapi.json"));
  size_t described = 0;
  for (const auto& [path, operations] : document.at("paths").as_object())
    for (const auto& [method, operation] : operations.as_object()) {
      ++described;
      std::string upper = method, at = path;
      for (char& c : upper) c = static_cast<char>(std::toupper(c));
      if (const size_t brace = at.find('{'); brace != at.npos) at = at.substr(0, brace) + "scripted";
      const HttpResponse response = server.ask(upper, at, upper == "POST" ? "{}" : "");
      EXPECT_NE(response.status, 405) << path;
      EXPECT_EQ(response.body.find("no such route"), std::string::npos) << path;
      EXPECT_TRUE(operation.find("summary") && operation.find("responses")) << path;
    }
  EXPECT_EQ(described, TestServer().server().router().routes().size());
}

TEST(Server, KnowsItsModel) {
  const TestServer server;
  const Json list = json_of(server.get("/v1/models"));
  EXPECT_EQ(list.at("data").as_array().size(), 2u);
  EXPECT_EQ(json_of(server.get("/v1/models/other")).at("id"), Json("other"));
  EXPECT_EQ(server.get("/v1/models/third").status, 404);
  EXPECT_EQ(json_of(server.post("/tokenize", R"({"prompt":"x"})")).at("count"), Json(3));
  EXPECT_EQ(json_of(server.post("/detokenize", R"({"tokens":[1,2]})")).at("prompt"), Json("2"));
  EXPECT_EQ(server.post("/detokenize", R"({"tokens":[-1]})").status, 400);
  EXPECT_NE(server.post("/apply-template", kChat).body.find("rendered"), std::string::npos);
}

TEST(Server, KeepsResponses) {
  const TestServer server;
  const Json first = json_of(server.post("/v1/responses", R"({"input":"q"})"));
  const std::string id = first.at("id").as_string();
  EXPECT_EQ(json_of(server.get("/v1/responses/" + id)), first);
  server.post("/v1/responses", R"({"input":"more","previous_response_id":")" + id + R"("})");
  EXPECT_EQ(server.script->last().chat->messages, parse_json(R"([{"role":"user","content":"q"},
    {"role":"assistant","content":"Hello"},{"role":"user","content":"more"}])"));
  EXPECT_EQ(server.ask("DELETE", "/v1/responses/" + id).status, 200);
  EXPECT_EQ(server.get("/v1/responses/" + id).status, 404);
  EXPECT_EQ(server.post("/v1/responses", R"({"input":"q","previous_response_id":")" + id + R"("})").status,
            400);
  const Json passing = json_of(server.post("/v1/responses", R"({"input":"q","store":false})"));
  EXPECT_EQ(server.get("/v1/responses/" + passing.at("id").as_string()).status, 404);
}

}  // namespace
}  // namespace minke

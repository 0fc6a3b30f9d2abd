#include "serve/access.h"

#include <atomic>
#include <thread>

#include "formats/test_files.h"
#include "serve/test_server.h"

namespace minke {
namespace {

std::string hex(std::string_view key) {
  std::string text;
  for (const unsigned char byte : sha256(key)) text += fmt::format("{:02x}", byte);
  return text;
}

TEST(Keys, ParsesLinesAndSaysWhichIsWrong) {
  const std::vector<ApiKey> keys =
      parse_keys("# people\n\nanna " + hex("a") + "\r\n  bob\t" + hex("b") + " parallel=2\n");
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].name, "anna");
  EXPECT_EQ(keys[0].hash, sha256("a"));
  EXPECT_EQ(keys[1].parallel, 2);
  const auto wrong = [](const std::string& text) { return subject_of([&] { parse_keys(text); }); };
  EXPECT_EQ(wrong("\nanna"), "line 2");
  EXPECT_EQ(wrong("anna " + hex("a").substr(1)), "line 1");
  EXPECT_EQ(wrong("anna plain-text-key"), "line 1");
  EXPECT_EQ(wrong("anna " + hex("a") + " parallel=0"), "line 1");
  EXPECT_EQ(wrong("anna " + hex("a") + "\nanna " + hex("b")), "line 2");
}

TEST(Access, HostsThatNobodyElseCanName) {
  for (const char* host :
       {"localhost", "LOCALHOST:6710", "127.0.0.1:80", "[::1]:6710", "192.168.1.5", "box.lan:6710"})
    EXPECT_TRUE(host_allowed(host, {"box.lan"})) << host;
  for (const char* host :
       {"evil.example", "localhost.evil.example", "", ":80", "127.0.0.1.evil.example", "[::1", "1.2.3"})
    EXPECT_FALSE(host_allowed(host, {"box.lan"})) << host;
}

TEST(Access, HostAndOriginAreChecked) {
  ServeOptions options;
  options.access.origins = {"https://chat.example"};
  const TestServer server(std::move(options));
  const auto asked = [&](HttpHeaders headers) { return server.get("/v1/models", std::move(headers)); };
  EXPECT_EQ(asked({{"Origin", "https://evil.example"}}).status, 403);
  EXPECT_EQ(asked({{"Origin", "null"}}).status, 403);
  EXPECT_EQ(asked({{"Origin", fmt::format("http://127.0.0.1:{}", server.port())}}).status, 200);
  const HttpResponse named = asked({{"Origin", "https://chat.example"}});
  EXPECT_EQ(named.status, 200);
  EXPECT_EQ(*named.header("Access-Control-Allow-Origin"), "https://chat.example");
  const HttpResponse preflight =
      server.ask("OPTIONS", "/v1/chat/completions", {},
                 {{"Origin", "https://chat.example"}, {"Access-Control-Request-Method", "POST"}});
  EXPECT_EQ(preflight.status, 204);
  EXPECT_NE(preflight.header("Access-Control-Allow-Methods"), nullptr);
  EXPECT_EQ(server
                .ask("OPTIONS", "/v1/chat/completions", {},
                     {{"Origin", "https://evil.example"}, {"Access-Control-Request-Method", "POST"}})
                .status,
            403);
}

TEST(Access, KeysOpenAllButHealth) {
  const TemporaryFolder folder;
  const fs::path file = folder / "keys";
  write_file(file, "anna " + hex("sesame") + "\nbob " + hex("open") + " parallel=1\n");
  ServeOptions options;
  options.keys = file;
  TestServer server(std::move(options));
  for (const char* path : {"/v1/models", "/metrics", "/openapi.json", "/nowhere"})
    EXPECT_EQ(server.get(path).status, 401) << path;
  EXPECT_EQ(server.get("/health").status, 200);
  EXPECT_EQ(server.get("/metrics", {{"Authorization", "Bearer wrong"}}).status, 401);
  EXPECT_EQ(server.get("/metrics", {{"Authorization", "Basic sesame"}}).status, 401);
  EXPECT_EQ(server.get("/metrics", {{"Authorization", "Bearer sesame"}}).status, 200);
  EXPECT_EQ(server.get("/metrics", {{"x-api-key", "sesame"}}).status, 200);
  const HttpResponse message = server.post("/v1/messages", "{}");
  EXPECT_EQ(message.status, 401);
  EXPECT_NE(message.body.find("authentication_error"), std::string::npos);
  EXPECT_TRUE(soon([&] { return server.log().find(" anna ") != std::string::npos; })) << server.log();
  EXPECT_EQ(server.log().find("sesame"), std::string::npos);

  const Json made =
      parse_json(server.post("/v1/responses", R"({"input":"q"})", {{"x-api-key", "sesame"}}).body);
  const std::string path = "/v1/responses/" + made.at("id").as_string();
  EXPECT_EQ(server.get(path, {{"x-api-key", "sesame"}}).status, 200);
  EXPECT_EQ(server.get(path, {{"x-api-key", "open"}}).status, 404) << "it is another's";

  write_file(file, "carl " + hex("third") + "\n");
  server.server().reload_keys();
  EXPECT_EQ(server.get("/metrics", {{"x-api-key", "sesame"}}).status, 401);
  EXPECT_EQ(server.get("/metrics", {{"x-api-key", "third"}}).status, 200);
  write_file(file, "carl nonsense\n");
  EXPECT_THROW(server.server().reload_keys(), Error);
  EXPECT_EQ(server.get("/metrics", {{"x-api-key", "third"}}).status, 200) << "the old keys stay";
}

TEST(Access, AKeyHasItsOwnLimit) {
  const TemporaryFolder folder;
  write_file(folder / "keys", "anna " + hex("a") + " parallel=1\nbob " + hex("b") + "\n");
  ServeOptions options;
  options.keys = folder / "keys";
  TestServer server(std::move(options));
  server.script->waiting = true;
  std::atomic<bool> end = false;
  std::thread first([&] {
    HttpRequest request;
    request.method = "POST";
    request.url = server.url("/v1/chat/completions");
    request.headers = {{"x-api-key", "a"}};
    request.body = kChat;
    request.canceled = [&] { return end.load(); };
    HttpClient().request(request);
  });
  EXPECT_TRUE(soon([&] { return server.script->submitted() == 1; }));
  EXPECT_EQ(server.post("/v1/chat/completions", kChat, {{"x-api-key", "a"}}).status, 429);
  end = true;
  first.join();
  EXPECT_TRUE(soon([&] { return server.script->cancelled() == 1; }));
  server.script->waiting = false;
  EXPECT_EQ(server.post("/v1/chat/completions", kChat, {{"x-api-key", "a"}}).status, 200);
}

TEST(Access, AFileWithoutKeysIsRefused) {
  const TemporaryFolder folder;
  write_file(folder / "keys", "# none yet\n");
  ServeOptions options;
  options.keys = folder / "keys";
  EXPECT_THROW(TestServer(std::move(options)), Error);
  options.keys = folder / "absent";
  EXPECT_THROW(TestServer(std::move(options)), Error);
}

}  // namespace
}  // namespace minke

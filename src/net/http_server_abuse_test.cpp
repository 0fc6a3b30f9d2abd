// Clients that mean no good, or know no better: each gets a clear answer, and the server stays well.
#include <random>
#include <sys/resource.h>

#include <gtest/gtest.h>

#include "net/http_server.h"
#include "net/server_fixture.h"

namespace minke {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

void expect_healthy(const HttpServer& server) {
  const auto begin = Clock::now();
  EXPECT_EQ(HttpProbe(server.port()).ask(request_text("GET", "/health")).status, 200);
  EXPECT_LT(Clock::now() - begin, 1s);
}

TEST(HttpServerAbuse, LargeBodiesAreRefusedBeforeTheyAreRead) {
  HttpServer server(serving());
  const std::string body(64 << 20, 'x');
  HttpProbe probe(server.port());  // it reads its answer when all is sent, as simple clients do
  EXPECT_TRUE(probe.send(request_text("POST", "/", body)));
  const auto response = probe.response();
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(response.body, "a body of 67108864 bytes, at most 33554432 are allowed\n");
  EXPECT_EQ(response.header("Connection"), "close");
  EXPECT_TRUE(probe.ends_within(1s));
  EXPECT_TRUE(probe.ended());
  HttpProbe announced(server.port());
  announced.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 67108864\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(announced.response().status, 413);
  HttpProbe chunked(server.port());
  chunked.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 64; ++i) EXPECT_TRUE(chunked.send("100000\r\n" + body.substr(0, 1 << 20) + "\r\n"));
  EXPECT_EQ(chunked.response().status, 413);
  expect_healthy(server);
}

TEST(HttpServerAbuse, AllBodiesTogetherHaveALimit) {
  HttpServerOptions options = serving();
  options.limits.all_body_bytes = 1'000'000;
  HttpServer server(std::move(options));
  HttpProbe first(server.port()), second(server.port());
  first.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900001\r\n\r\n" + std::string(900'000, 'x'));
  std::this_thread::sleep_for(100ms);
  second.send(request_text("POST", "/", std::string(200'000, 'y')));
  EXPECT_EQ(second.response().status, 503);
  first.send("x");
  EXPECT_EQ(first.response().status, 200);
  // A handler that has answered may still hold its request for a moment.
  EXPECT_TRUE(eventually([&] {
    return HttpProbe(server.port()).ask(request_text("POST", "/", std::string(200'000, 'y'))).status == 200;
  }));
}

TEST(HttpServerAbuse, GarbageIsTold) {
  HttpServer server(serving());
  std::mt19937 random(1);
  for (int i = 0; i < 50; ++i) {
    std::string garbage(1 + random() % 3000, ' ');
    for (char& c : garbage) c = static_cast<char>(random());
    HttpProbe probe(server.port());
    probe.send("\x01" + garbage + "\r\n\r\n");
    EXPECT_EQ(probe.response().status, 400);
    EXPECT_TRUE(probe.ends_within(1s));
    EXPECT_TRUE(probe.ended());
  }
  HttpProbe pipelined(server.port());
  pipelined.send(request_text("GET", "/a") + "\x16\x03\x01 garbage\r\n\r\n" + request_text("GET", "/never"));
  EXPECT_EQ(pipelined.response().body, "GET /a? ");
  EXPECT_EQ(pipelined.response().status, 400);
  EXPECT_EQ(pipelined.rest(), "");
  expect_healthy(server);
}

TEST(HttpServerAbuse, NothingIsSmuggled) {
  std::atomic<int> handled = 0;
  HttpServer server(serving([&](const ServerRequest& request, const Reply& reply) {
    ++handled;
    echo(request, reply);
  }));
  const std::string hidden = request_text("GET", "/hidden");
  const std::string ending = "0\r\n\r\n" + hidden;
  const std::vector<std::pair<std::string, int>> shapes = {
      {"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400},
      {"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400},
      {"Content-Length: 0\r\nContent-Length: 44\r\n", 400},
      {"Content-Length: 5\r\nContent-Length: 5\r\n", 400},
      {"X: y\r\n Content-Length: 5\r\n", 400},
      {"X: y\nContent-Length: 5\r\n", 400},
      {"X: y\rContent-Length: 5\r\n", 400},
      {"Transfer-Encoding: xchunked\r\n", 501},
      {"Transfer-Encoding: gzip, chunked\r\n", 501},
      {"Transfer-Encoding\t: chunked\r\n", 400},
      {"Transfer-Encoding:\x0b"
       "chunked\r\n",
       400},
  };
  for (const auto& [fields, status] : shapes) {
    HttpProbe probe(server.port());
    probe.send("POST / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n" + ending);
    EXPECT_EQ(probe.response().status, status) << fields;
    EXPECT_EQ(probe.rest(), "") << fields;
    EXPECT_TRUE(probe.ended());
  }
  EXPECT_EQ(handled, 0);
  HttpProbe header(server.port());
  EXPECT_EQ(header.ask("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n").status,
            431);
  for (const char* path : {"/../etc/passwd", "/%2e%2e/etc/passwd", "/a%00b", "/..%5cx"})
    EXPECT_EQ(HttpProbe(server.port()).ask(request_text("GET", path)).status, 400) << path;
  EXPECT_EQ(handled, 0);
  expect_healthy(server);
}

TEST(HttpServerAbuse, SlowHeadersAndBodiesHaveTheirTime) {
  HttpServerOptions options = serving();
  options.limits.header_time = 800ms;
  options.limits.body_time = 800ms;
  options.limits.idle_time = 300ms;
  HttpServer server(std::move(options));
  const auto drip = [](HttpProbe& probe, std::string_view text) {
    const auto begin = Clock::now();
    for (const char c : text) {
      if (Clock::now() - begin > 1500ms) break;
      probe.send({&c, 1});
      std::this_thread::sleep_for(10ms);
    }
  };
  const std::string slow = "GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(200, 'x');
  HttpProbe head(server.port());
  drip(head, slow);
  EXPECT_EQ(head.response().status, 408);
  EXPECT_TRUE(head.ends_within(1s));
  HttpProbe body(server.port());
  body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
  drip(body, std::string(200, 'x'));
  EXPECT_EQ(body.response().status, 408);

  const auto begin = Clock::now();
  HttpProbe silent(server.port());
  EXPECT_TRUE(silent.ends_within(5s));
  EXPECT_GT(Clock::now() - begin, 790ms);
  EXPECT_LT(Clock::now() - begin, 1600ms);
  EXPECT_EQ(silent.rest(), "");

  HttpProbe kept(server.port());
  ASSERT_EQ(kept.ask(request_text("GET", "/")).status, 200);
  const auto idle = Clock::now();
  EXPECT_TRUE(kept.ends_within(5s));
  EXPECT_GT(Clock::now() - idle, 290ms);
  EXPECT_LT(Clock::now() - idle, 750ms);

  HttpProbe second(server.port());  // the time of a later header begins with its first byte
  ASSERT_EQ(second.ask(request_text("GET", "/")).status, 200);
  std::this_thread::sleep_for(100ms);
  const std::string text = request_text("GET", "/");
  second.send(text.substr(0, 1));
  std::this_thread::sleep_for(400ms);
  EXPECT_EQ(second.ask(text.substr(1)).status, 200);
  drip(second, slow);
  EXPECT_EQ(second.response().status, 408);
}

TEST(HttpServerAbuse, TooManyConnectionsAreTold) {
  HttpServerOptions options = serving();
  options.limits.connections = 20;
  HttpServer server(std::move(options));
  std::vector<HttpProbe> idle;
  for (int i = 0; i < 20; ++i) idle.emplace_back(server.port());
  ASSERT_TRUE(eventually([&] { return server.connections() == 20; }));
  HttpProbe asking(server.port()), silent(server.port());
  const auto response = asking.ask(request_text("GET", "/"));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "there are too many connections\n");
  EXPECT_TRUE(asking.ends_within(1s));
  EXPECT_EQ(silent.response().status, 503);  // after a while
  EXPECT_TRUE(silent.ends_within(1s));
  EXPECT_EQ(idle[7].ask(request_text("GET", "/")).status, 200);
  asking.close();
  silent.close();
  idle.pop_back();
  ASSERT_TRUE(eventually([&] { return server.connections() == 19; }));
  expect_healthy(server);
  std::vector<HttpProbe> flood;
  for (int i = 0; i < 300; ++i) flood.emplace_back(server.port());
  EXPECT_TRUE(eventually([&] { return flood.back().ends_within(0ms); }));
  EXPECT_LE(server.connections(), 84);
}

TEST(HttpServerAbuse, StaysWellAmongManyIdleAndSlowConnections) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit before = limit;
  limit.rlim_cur = std::max<rlim_t>(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, 4096));
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < 3000) GTEST_SKIP() << "only " << limit.rlim_cur << " files may be open";
  HttpServerOptions options = serving();
  options.limits.header_time = 300s;  // so that they stay as slow as they are
  HttpServer server(std::move(options));
  std::vector<HttpProbe> idle, slow;
  for (int i = 0; i < 1000; ++i) idle.emplace_back(server.port());
  for (int i = 0; i < 200; ++i) slow.emplace_back(server.port());
  ASSERT_TRUE(eventually([&] { return server.connections() == 1200; }));
  const double cpu = cpu_seconds();
  const auto begin = Clock::now();
  const std::string text = request_text("GET", "/slow");
  for (size_t i = 0; i < 20; ++i) {
    for (HttpProbe& probe : slow) ASSERT_TRUE(probe.send(text.substr(i, 1)));
    expect_healthy(server);
    std::this_thread::sleep_for(50ms);
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const double share = (cpu_seconds() - cpu) / seconds;
  RecordProperty("cpu_share", std::to_string(share));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(share, 0.3);  // 4,000 pieces and 20 requests a second, their clients included
#endif
  for (HttpProbe& probe : slow) ASSERT_EQ(probe.ask(text.substr(20)).status, 200);
  for (HttpProbe& probe : idle) ASSERT_EQ(probe.ask(request_text("GET", "/idle")).status, 200);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(HttpServerAbuse, WaitsForFileDescriptors) {
  HttpServer server(serving());
  expect_healthy(server);
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  HttpProbe first(server.port());
  ASSERT_EQ(first.ask(request_text("GET", "/")).status, 200);
  const int waiting = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::vector<int> fill;  // all numbers below the limit are taken
  for (int fd = 0; (fd = ::dup(0)) >= 0 && fd < 400;) fill.push_back(fd);
  const rlimit low{400, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  while (true) {
    const int fd = ::dup(0);
    if (fd < 0) break;
    fill.push_back(fd);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const double cpu = cpu_seconds();
  ASSERT_EQ(::connect(waiting, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const std::string text = request_text("GET", "/");
  ASSERT_GT(::send(waiting, text.data(), text.size(), 0), 0);
  std::this_thread::sleep_for(500ms);
  EXPECT_LT(cpu_seconds() - cpu, 0.1);  // it does not spin
  char answer[100];
  EXPECT_LT(::recv(waiting, answer, sizeof answer, MSG_DONTWAIT), 0);
  EXPECT_EQ(first.ask(request_text("GET", "/")).status, 200);  // who is connected is served
  for (const int fd : fill) ::close(fd);
  ::setrlimit(RLIMIT_NOFILE, &before);
  pollfd p{waiting, POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, 1000), 1);
  EXPECT_GT(::recv(waiting, answer, sizeof answer, 0), 12);
  EXPECT_EQ(std::string_view(answer, 12), "HTTP/1.1 200");
  ::close(waiting);
}

}  // namespace
}  // namespace minke

// Clients that go, at every stage, and clients that do not read.
#include <future>
#include <random>

#include <gtest/gtest.h>

#include "net/http_server.h"
#include "net/server_fixture.h"

namespace minke {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A handler that computes, without a word, until its client has gone.
struct Computing {
  Flag begun, gone;
  void operator()(const ServerRequest&, const Reply& reply) {
    reply->on_gone([this] { gone.set(); });
    begun.set();
    while (!reply->gone()) std::this_thread::sleep_for(1ms);
  }
};

void expect_gone_soon(const std::string& before, const std::function<void(HttpProbe&)>& go) {
  Computing computing;
  HttpServer server(serving(std::ref(computing)));
  HttpProbe probe(server.port());
  probe.send_some(before);
  ASSERT_TRUE(computing.begun.wait());
  std::this_thread::sleep_for(50ms);
  const auto begin = Clock::now();
  go(probe);
  ASSERT_TRUE(computing.gone.wait());
  EXPECT_LT(computing.gone.at() - begin, 200ms);
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
}

TEST(HttpServerGone, IsNoticedWhileAHandlerComputes) {
  const auto close = [](HttpProbe& probe) { probe.close(); };
  const auto reset = [](HttpProbe& probe) { probe.reset(); };
  const std::string text = request_text("GET", "/");
  expect_gone_soon(text, close);
  expect_gone_soon(text, reset);
  expect_gone_soon(text + request_text("GET", "/next"), close);
  // More than is read ahead of the next request: nothing is read any more, and the end is behind it.
  expect_gone_soon(text + request_text("POST", "/", std::string(150'000, 'x')), close);
  expect_gone_soon(text + request_text("POST", "/", std::string(30 << 20, 'x')), reset);
}

TEST(HttpServerGone, IsNoticedInTheMiddleOfAStream) {
  Flag gone;
  std::promise<Reply> given;
  HttpServer server(serving([&](const ServerRequest&, const Reply& reply) {
    reply->on_gone([&] { gone.set(); });
    reply->start(200, {});
    reply->write("data: 1\n\n");
    given.set_value(reply);
  }));
  HttpProbe probe(server.port());
  probe.send(request_text("GET", "/"));
  ASSERT_TRUE(probe.wait_for("data: 1"));
  const Reply reply = given.get_future().get();
  EXPECT_FALSE(reply->gone());
  probe.close();
  const auto begin = Clock::now();
  ASSERT_TRUE(gone.wait());
  EXPECT_LT(gone.at() - begin, 200ms);
  EXPECT_TRUE(reply->gone());
  for (int i = 0; i < 5; ++i) reply->write("data: 2\n\n");  // into the void
  EXPECT_TRUE(eventually([&] {
    reply->write("data: 3\n\n");
    return server.connections() == 0;
  }));
  Flag late;
  reply->on_gone([&] { late.set(); });
  EXPECT_TRUE(late.wait(0ms));
}

TEST(HttpServerGone, IsToldOnceAndNotAfterTheEnd) {
  std::atomic<int> told = 0;
  HttpServer server(serving([&](const ServerRequest& request, const Reply& reply) {
    reply->on_gone([&] { ++told; });
    echo(request, reply);
    reply->on_gone([&] { ++told; });
  }));
  {
    HttpProbe probe(server.port());
    ASSERT_EQ(probe.ask(request_text("GET", "/")).status, 200);
  }
  ASSERT_TRUE(eventually([&] { return server.connections() == 0; }));
  EXPECT_EQ(told, 0);
}

TEST(HttpServerGone, AReplyMayBeHeldByWhatWaitsForIt) {
  std::weak_ptr<ServerReply> held;
  HttpServer server(serving([&](const ServerRequest& request, const Reply& reply) {
    held = reply;
    reply->on_gone([reply] {});
    if (request.path == "/send") return echo(request, reply);
    reply->start(200, {});
    if (request.path == "/abort") reply->abort();
    if (request.path == "/finish") reply->finish();
  }));
  for (const char* path : {"/send", "/abort", "/finish", "/open"}) {
    HttpProbe probe(server.port());
    probe.send(request_text("GET", path));
    ASSERT_TRUE(probe.wait_for("HTTP/1.1 200"));
    probe.close();
    EXPECT_TRUE(eventually([&] { return held.expired(); })) << path;
  }
}

TEST(HttpServerGone, ClientsMayEndTheirSideAndReadOn) {
  HttpServer server(serving([](const ServerRequest& request, const Reply& reply) {
    if (request.path == "/slow") std::this_thread::sleep_for(100ms);
    echo(request, reply);
  }));
  for (const char* path : {"/", "/slow"}) {
    HttpProbe probe(server.port());
    probe.send(request_text("GET", path) + request_text("POST", "/second", "x"));
    probe.end_sending();
    EXPECT_EQ(probe.response().body, fmt::format("GET {}? ", path));
    EXPECT_EQ(probe.response().body, "POST /second? x");
    EXPECT_TRUE(probe.ends_within(1s));
    EXPECT_TRUE(probe.ended());
  }
  HttpProbe probe(server.port());
  probe.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
  probe.end_sending();
  EXPECT_EQ(probe.response().status, 400);
  HttpProbe silent(server.port());
  silent.end_sending();
  EXPECT_EQ(silent.rest(), "");
  EXPECT_TRUE(silent.ended());
}

TEST(HttpServerGone, AtEveryStage) {
  HttpServer server(serving([](const ServerRequest& request, const Reply& reply) {
    reply->start(200, {});
    for (int i = 0; i < 20; ++i) reply->write(request.body + std::string(1000, 'x'));
    reply->finish();
  }));
  const size_t files = open_files();
  const std::string text = request_text("POST", "/", std::string(300, 'b'), "Expect: 100-continue\r\n") +
                           request_text("GET", "/second");
  for (size_t cut = 0; cut < text.size(); cut += 3)
    for (const bool reset : {false, true}) {
      HttpProbe probe(server.port());
      probe.send(std::string_view(text).substr(0, cut));
      if (cut % 2) probe.response(false, 1ms);
      if (reset) probe.reset();
    }
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
  EXPECT_TRUE(eventually([&] { return open_files() == files; }));
  EXPECT_EQ(HttpProbe(server.port()).ask(request_text("GET", "/")).body.size(), 20'000u);
}

// Writes to all replies in turns until they end or their clients have gone, as the engine does.
class Engine {
 public:
  ~Engine() {
    ended_ = true;
    thread_.join();
  }
  void take(const Reply& reply, int tokens) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({reply, tokens, std::make_shared<std::atomic<bool>>(false)});
    reply->on_gone([canceled = jobs_.back().canceled] { *canceled = true; });
  }
  size_t jobs() {
    const std::lock_guard lock(mutex_);
    return jobs_.size();
  }

 private:
  struct Job {
    Reply reply;
    int tokens;
    std::shared_ptr<std::atomic<bool>> canceled;
  };
  void run() {
    while (!ended_) {
      {
        const std::lock_guard lock(mutex_);
        for (Job& job : jobs_) {
          if (--job.tokens >= 0) job.reply->write("data: token\n\n");
          if (job.tokens == 0) job.reply->finish();
        }
        std::erase_if(jobs_, [](const Job& job) { return job.tokens <= 0 || *job.canceled; });
      }
      std::this_thread::sleep_for(1ms);
    }
  }
  std::mutex mutex_;
  std::vector<Job> jobs_;
  std::atomic<bool> ended_ = false;
  std::thread thread_{[this] { run(); }};
};

// One client after the other, each of a kind that is drawn; the wrong answers are counted.
int clients(uint16_t port, unsigned seed, int count) {
  std::mt19937 random(seed);
  int wrong = 0;
  for (int i = 0; i < count; ++i) {
    HttpProbe probe(port);
    const std::string text = request_text("POST", "/stream", "5"),
                      echo_text = request_text("POST", "/echo", "x");
    switch (random() % 7) {
      case 0: wrong += probe.ask(echo_text).body != "POST /echo? x"; break;
      case 1: wrong += probe.ask(text).body.size() != 5 * 13; break;
      case 2:
        probe.send(text + echo_text);
        wrong += !probe.response().whole || probe.response().body != "POST /echo? x";
        break;
      case 3:  // goes in the middle of its stream
        probe.send(request_text("POST", "/stream", "1000"));
        wrong += !probe.wait_for("token");
        if (random() % 2) probe.reset();
        break;
      case 4: probe.send(text.substr(0, random() % text.size())); break;
      case 5: wrong += probe.ask("nonsense\r\n\r\n").status != 400; break;
      default: probe.send(text); probe.end_sending();
    }
  }
  return wrong;
}

TEST(HttpServerGone, InAnyOrder) {
  const size_t files = open_files();
  Engine engine;
  {
    HttpServer server(serving([&](const ServerRequest& request, const Reply& reply) {
      if (request.path == "/echo") return echo(request, reply);
      reply->keep_awake(": \n\n", 500ms);
      reply->start(200, {{"Content-Type", "text/event-stream"}});
      engine.take(reply, std::stoi(request.body));
    }));
    std::vector<std::future<int>> wrong;
    for (unsigned seed = 0; seed < 6; ++seed)
      wrong.push_back(std::async(std::launch::async, clients, server.port(), seed, 60));
    for (auto& w : wrong) EXPECT_EQ(w.get(), 0);
    EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
    EXPECT_TRUE(eventually([&] { return engine.jobs() == 0; }));
    std::vector<HttpProbe> left;  // the server ends while these are under way
    for (int i = 0; i < 10; ++i) {
      left.emplace_back(server.port());
      left.back().send(request_text("POST", "/stream", "100000"));
      ASSERT_TRUE(left.back().wait_for("token"));
    }
  }
  EXPECT_TRUE(eventually([&] { return engine.jobs() == 0; }));
  EXPECT_EQ(open_files(), files);
}

TEST(HttpServerGone, AStreamThatIsNotReadIsCut) {
  Flag gone;
  std::atomic<size_t> written = 0;
  HttpServerOptions options = serving([&](const ServerRequest&, const Reply& reply) {
    reply->on_gone([&] { gone.set(); });
    reply->start(200, {});
    const std::string piece(10'000, 'x');
    while (!reply->gone() && written < 100 << 20) {
      reply->write(piece);
      written += piece.size();
      if (written % 1'000'000 == 0) std::this_thread::sleep_for(1ms);
    }
  });
  options.limits.unsent_bytes = 1 << 20;
  HttpServer server(std::move(options));
  HttpProbe probe(server.port());
  probe.send(request_text("GET", "/"));
  ASSERT_TRUE(gone.wait());
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
  const auto response = probe.response();
  EXPECT_FALSE(response.whole);
  EXPECT_TRUE(probe.broken());
  EXPECT_LT(written, 50u << 20);  // what the kernel holds, and the limit
}

TEST(HttpServerGone, AWholeAnswerMayBeLongerThanWhatMayWait) {
  HttpServerOptions options = serving([](const ServerRequest&, const Reply& reply) {
    reply->send({.status = 200, .headers = {}, .body = std::string(30 << 20, 'x')});
  });
  options.limits.unsent_bytes = 1000;
  options.limits.write_time = 300ms;
  HttpServer server(std::move(options));
  HttpProbe slow(server.port());  // it reads some 4 MiB every 100 ms: progress in every span
  slow.send(request_text("GET", "/"));
  std::vector<char> buffer(4 << 20);
  for (size_t read = 0; read < 30u << 20;) {
    const ssize_t n = ::recv(slow.fd(), buffer.data(), buffer.size(), 0);
    ASSERT_GT(n, 0) << "after " << read;
    read += static_cast<size_t>(n);
    if (n > 100'000) std::this_thread::sleep_for(100ms);
  }

  HttpProbe stuck(server.port());  // it reads nothing
  stuck.send(request_text("GET", "/"));
  EXPECT_TRUE(eventually([&] { return server.connections() == 2; }));
  EXPECT_TRUE(eventually([&] { return server.connections() == 1; }));
  EXPECT_FALSE(stuck.response().whole);
}

}  // namespace
}  // namespace minke

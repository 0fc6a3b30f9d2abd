#include "net/http_server.h"

#include <future>

#include <gtest/gtest.h>

#include "base/error.h"
#include "net/http_client.h"
#include "net/server_fixture.h"

namespace minke {
namespace {

using namespace std::chrono_literals;

HttpResponse ask(const HttpServer& server, const std::string& path, std::string body = "") {
  HttpRequest request{.method = body.empty() ? "GET" : "POST",
                      .url = fmt::format("http://127.0.0.1:{}{}", server.port(), path)};
  request.body = std::move(body);
  return HttpClient().request(request);
}

TEST(HttpServer, AnswersOurClient) {
  HttpServer server(serving());
  const HttpResponse response = ask(server, "/a%20b?c=d", "hello");
  ASSERT_TRUE(response.ok()) << response.detail;
  EXPECT_EQ(response.body, "POST /a b?c=d hello");
  EXPECT_EQ(*response.header("Content-Type"), "text/plain");
  EXPECT_EQ(response.header("Date")->size(), 29u);
  EXPECT_EQ(*response.header("Connection"), "close");  // as the client asked
}

TEST(HttpServer, TellsOfTheRequest) {
  ServerRequest seen;
  HttpServer server(serving([&](const ServerRequest& request, const Reply& reply) {
    seen = request;
    echo(request, reply);
  }));
  HttpProbe probe(server.port());
  ASSERT_EQ(probe.ask(request_text("PUT", "/p?q", "body", "X-A: 1\r\nx-a: 2\r\n")).status, 200);
  EXPECT_EQ(seen.number, 1u);
  EXPECT_EQ(seen.method, "PUT");
  EXPECT_EQ(*seen.header("X-a"), "1");
  EXPECT_TRUE(seen.peer.starts_with("127.0.0.1:"));
  EXPECT_FALSE(seen.tls);
  ASSERT_EQ(probe.ask(request_text("GET", "/")).status, 200);
  EXPECT_EQ(seen.number, 2u);
}

TEST(HttpServer, KeepsConnectionsAliveAndAnswersInOrder) {
  HttpServer server(serving([](const ServerRequest& request, const Reply& reply) {
    if (request.path == "/0") std::this_thread::sleep_for(50ms);  // the later ones must wait for it
    echo(request, reply);
  }));
  HttpProbe probe(server.port());
  std::string all;
  for (int i = 0; i < 200; ++i)
    all +=
        i % 2 ? request_text("GET", fmt::format("/{}", i)) : request_text("POST", fmt::format("/{}", i), "x");
  probe.send(all);
  for (int i = 0; i < 200; ++i)
    ASSERT_EQ(probe.response().body, i % 2 ? fmt::format("GET /{}? ", i) : fmt::format("POST /{}? x", i));
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpServer, ReadsPipelinedBodiesThatDoNotFitItsBuffer) {
  HttpServer server(serving([](const ServerRequest& request, const Reply& reply) {
    std::this_thread::sleep_for(20ms);
    reply->send({.status = 200, .headers = {}, .body = std::to_string(request.body.size())});
  }));
  HttpProbe probe(server.port());
  std::thread sender([&] {
    for (int i = 0; i < 8; ++i) probe.send(request_text("POST", "/", std::string(300'000 + i, 'x')));
  });
  for (int i = 0; i < 8; ++i) EXPECT_EQ(probe.response().body, std::to_string(300'000 + i));
  sender.join();
}

TEST(HttpServer, StreamsInChunks) {
  std::promise<Reply> given;
  HttpServer server(serving([&](const ServerRequest&, const Reply& reply) { given.set_value(reply); }));
  HttpProbe probe(server.port());
  probe.send(request_text("GET", "/"));
  const Reply reply = given.get_future().get();
  reply->start(200, {{"Content-Type", "text/event-stream"}});
  ASSERT_TRUE(probe.wait_for("\r\n\r\n"));  // the header comes at once
  reply->write("data: 1\n\n");
  ASSERT_TRUE(probe.wait_for("data: 1\n\n"));
  reply->write("");
  reply->write("data: 2\n\n");
  reply->finish();
  reply->write("too late");
  reply->finish();
  const auto response = probe.response();
  EXPECT_TRUE(response.whole);
  EXPECT_EQ(response.body, "data: 1\n\ndata: 2\n\n");
  EXPECT_EQ(response.header("Content-Length"), "");
  EXPECT_FALSE(reply->gone());
}

TEST(HttpServer, StreamsUntilTheEndForHttp10) {
  HttpServer server(serving([](const ServerRequest& request, const Reply& reply) {
    if (request.path == "/whole") return echo(request, reply);
    reply->start(200, {});
    reply->write("ab");
    reply->write("cd");
    if (request.path == "/cut") return reply->abort();
    reply->finish();
  }));
  HttpProbe kept(server.port());
  const auto whole = kept.ask("GET /whole HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(whole.header("Connection"), "keep-alive");
  const auto streamed = kept.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(streamed.header("Transfer-Encoding"), "");
  EXPECT_EQ(streamed.header("Connection"), "close");
  EXPECT_EQ(streamed.body, "abcd");
  EXPECT_TRUE(kept.ended());
  HttpProbe closed(server.port());
  EXPECT_EQ(closed.ask("GET /whole HTTP/1.0\r\n\r\n").header("Connection"), "close");
  EXPECT_TRUE(closed.ends_within(1s));
  HttpProbe cut(server.port());
  cut.ask("GET /cut HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(cut.broken());
}

TEST(HttpServer, HeadAndStatusesWithoutABody) {
  HttpServer server(serving([](const ServerRequest& request, const Reply& reply) {
    if (request.path == "/204") return reply->send({.status = 204, .headers = {}, .body = {}});
    if (request.path == "/304") return reply->send({.status = 304, .headers = {}, .body = "ignored"});
    if (request.path == "/whole") return echo(request, reply);
    reply->start(200, {});
    reply->write("abc");
    reply->finish();
  }));
  HttpProbe probe(server.port());
  probe.send(request_text("HEAD", "/whole"));
  EXPECT_EQ(probe.response(true).header("Content-Length"), "13");
  probe.send(request_text("HEAD", "/streamed"));
  EXPECT_EQ(probe.response(true).header("Transfer-Encoding"), "chunked");
  EXPECT_EQ(probe.ask(request_text("GET", "/204")).header("Content-Length"), "");
  EXPECT_EQ(probe.ask(request_text("GET", "/304")).status, 304);
  EXPECT_EQ(probe.ask(request_text("GET", "/streamed")).body, "abc");  // nothing strayed between them
}

TEST(HttpServer, AdmitsBeforeTheBody) {
  std::atomic<int> handled = 0;
  HttpServerOptions options = serving([&](const ServerRequest& request, const Reply& reply) {
    ++handled;
    echo(request, reply);
  });
  options.admit = [](const ServerRequest& head) -> std::optional<ServerResponse> {
    EXPECT_TRUE(head.body.empty());
    if (head.path == "/no")
      return ServerResponse{.status = 401, .headers = {{"WWW-Authenticate", "Bearer"}}, .body = "key?"};
    if (head.path == "/throws") throw Error("it is broken");
    return std::nullopt;
  };
  HttpServer server(std::move(options));
  HttpProbe probe(server.port());
  EXPECT_EQ(probe.ask(request_text("GET", "/no")).status, 401);
  EXPECT_EQ(probe.ask(request_text("GET", "/yes")).status,
            200);  // on the same connection: there was no body to skip
  probe.send("POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
  const auto refused = probe.response();
  EXPECT_EQ(refused.status, 401);  // and no 100 before it
  EXPECT_EQ(refused.body, "key?");
  EXPECT_EQ(refused.header("Connection"), "close");
  EXPECT_TRUE(probe.ends_within(1s));
  EXPECT_EQ(HttpProbe(server.port()).ask(request_text("GET", "/throws")).status, 500);
  EXPECT_EQ(handled, 1);
}

TEST(HttpServer, ContinuesWhereItIsExpected) {
  HttpServer server(serving());
  HttpProbe probe(server.port());
  probe.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(probe.response().status, 100);
  EXPECT_EQ(probe.ask("hi").body, "POST /? hi");
  probe.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi");
  EXPECT_EQ(probe.response().status, 200);  // the body was there already
  probe.send("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(probe.response().status, 200);
  EXPECT_EQ(HttpProbe(server.port()).ask("GET / HTTP/1.1\r\nHost: h\r\nExpect: more\r\n\r\n").status, 417);
}

TEST(HttpServer, WhatAHandlerThrowsIsA500) {
  HttpServer server(serving([](const ServerRequest& request, const Reply& reply) {
    if (request.path == "/error") throw Error("no such thing", "subject");
    if (request.path == "/odd") throw 7;
    if (request.path == "/header") reply->send({.status = 200, .headers = {{"X", "a\r\nb"}}, .body = {}});
    if (request.path == "/late") {
      reply->start(200, {});
      throw Error("late");
    }
  }));
  HttpProbe probe(server.port());
  const auto thrown = probe.ask(request_text("GET", "/error"));
  EXPECT_EQ(thrown.status, 500);
  EXPECT_EQ(thrown.body, "subject: no such thing\n");
  EXPECT_EQ(probe.ask(request_text("GET", "/odd")).status, 500);
  EXPECT_EQ(probe.ask(request_text("GET", "/header")).status, 500);
  EXPECT_EQ(probe.ask(request_text("GET", "/forgotten")).body, "the request was not answered\n");
  const auto late = probe.ask(request_text("GET", "/late"));
  EXPECT_EQ(late.status, 200);
  EXPECT_FALSE(late.whole);
  EXPECT_TRUE(probe.ends_within(1s));
}

TEST(HttpServer, FaultsHaveTheShapeTheyAreGiven) {
  HttpServerOptions options = serving();
  options.fault = [](int status, const std::string& what, const ServerRequest& head) {
    return ServerResponse{
        .status = status,
        .headers = {{"Retry-After", "1"}},
        .body = fmt::format("#{} {} from {}: {}", head.number, head.path, head.peer.substr(0, 9), what)};
  };
  HttpServer server(std::move(options));
  const auto bad = HttpProbe(server.port()).ask("GET /x HTTP/1.1\r\n\r\n");
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.body, "#1 /x from 127.0.0.1: there is no Host header");
  EXPECT_EQ(bad.header("Retry-After"), "1");
  EXPECT_EQ(HttpProbe(server.port()).ask("nonsense\r\n\r\n").body.substr(0, 21), "#2 / from 127.0.0.1: ");
}

TEST(HttpServer, AbortShowsThatTheBodyIsNotWhole) {
  HttpServer server(serving([](const ServerRequest& request, const Reply& reply) {
    if (request.path == "/at-once") return reply->abort();
    reply->start(200, {});
    reply->write("abc");
    reply->abort();
  }));
  HttpProbe probe(server.port());
  const auto response = probe.ask(request_text("GET", "/"));
  EXPECT_EQ(response.body, "abc");
  EXPECT_FALSE(response.whole);
  EXPECT_TRUE(probe.ends_within(1s));
  EXPECT_EQ(ask(server, "/").failure, HttpFailure::broken);
  EXPECT_EQ(HttpProbe(server.port()).ask(request_text("GET", "/at-once")).status, 0);
}

TEST(HttpServer, CommentsKeepAStreamAwake) {
  std::promise<Reply> given;
  HttpServer server(serving([&](const ServerRequest&, const Reply& reply) {
    reply->keep_awake(": \n\n", 60ms);
    reply->start(200, {});
    given.set_value(reply);
  }));
  HttpProbe probe(server.port());
  probe.send(request_text("GET", "/"));
  const Reply reply = given.get_future().get();
  for (int i = 0; i < 15; ++i) {  // no comment where something is written in time
    std::this_thread::sleep_for(10ms);
    reply->write("x");
  }
  std::this_thread::sleep_for(250ms);
  reply->finish();
  std::this_thread::sleep_for(150ms);
  const auto response = probe.response();
  EXPECT_TRUE(response.whole);
  const size_t comments = static_cast<size_t>(std::count(response.body.begin(), response.body.end(), ':'));
  EXPECT_GE(comments, 2u);
  EXPECT_LE(comments, 5u);
  EXPECT_TRUE(response.body.starts_with("xxx")) << response.body;
  EXPECT_EQ(probe.rest(10ms), "");
}

TEST(HttpServer, RepliesMayOutliveTheServer) {
  std::promise<Reply> given;
  auto server = std::make_unique<HttpServer>(
      serving([&](const ServerRequest&, const Reply& reply) { given.set_value(reply); }));
  HttpProbe probe(server->port());
  probe.send(request_text("GET", "/"));
  Reply reply = given.get_future().get();
  std::atomic<int> told = 0;
  reply->on_gone([&] { ++told; });
  server.reset();
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(reply->gone());
  reply->on_gone([&] { ++told; });
  EXPECT_EQ(told, 2);
  reply->start(200, {});
  reply->write("x");
  reply->keep_awake("x", 1ms);
  reply->finish();
  reply.reset();
  EXPECT_TRUE(probe.ends_within(1s));
}

TEST(HttpServer, EndsAtOnceAndLeavesNothingBehind) {
  const size_t files = open_files(), threads = running_threads();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) {
    Flag reached;
    HttpServer server(serving([&](const ServerRequest&, const Reply& reply) {
      reply->start(200, {});
      reached.set();
      while (!reply->gone()) std::this_thread::sleep_for(1ms);
    }));
    std::vector<HttpProbe> probes;
    for (int j = 0; j < 20; ++j) probes.emplace_back(server.port());
    probes[0].send(request_text("GET", "/"));
    probes[1].send("GET / HT");
    probes[2].send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
    probes[3].send("nonsense\r\n\r\n");  // it lingers
    for (int j = 4; j < 20; ++j)
      probes[static_cast<size_t>(j)].send(request_text("GET", "/"));  // some wait for a handler
    ASSERT_TRUE(reached.wait());
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  EXPECT_EQ(open_files(), files);
  EXPECT_EQ(running_threads(), threads);
}

TEST(HttpServer, DrainLetsRepliesEnd) {
  std::promise<Reply> given;
  HttpServer server(serving([&](const ServerRequest& request, const Reply& reply) {
    if (request.path == "/long")
      given.set_value(reply);
    else
      echo(request, reply);
  }));
  HttpProbe busy(server.port()), idle(server.port()), used(server.port()), halfway(server.port());
  busy.send(request_text("GET", "/long") + request_text("GET", "/after"));
  ASSERT_EQ(used.ask(request_text("GET", "/")).status, 200);
  halfway.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_EQ(halfway.response().status, 100);
  const Reply reply = given.get_future().get();
  ASSERT_TRUE(eventually([&] { return server.connections() == 4; }));
  EXPECT_FALSE(server.drain(50ms));
  EXPECT_TRUE(idle.ends_within(1s));
  EXPECT_TRUE(used.ends_within(1s));
  EXPECT_EQ(halfway.response().status, 503);
  EXPECT_FALSE(HttpProbe(server.port()).connected());
  std::thread later([&] {
    std::this_thread::sleep_for(50ms);
    reply->start(200, {});
    reply->write(std::string(1 << 20, 'x'));
    reply->finish();
  });
  EXPECT_TRUE(server.drain(5s));
  later.join();
  const auto response = busy.response();
  EXPECT_TRUE(response.whole);
  EXPECT_EQ(response.header("Connection"), "close");
  EXPECT_EQ(busy.rest(), "");  // the second request was not begun
}

TEST(HttpServer, HandlersRunBesideEachOther) {
  std::atomic<int> inside = 0;
  HttpServerOptions options = serving([&](const ServerRequest& request, const Reply& reply) {
    ++inside;
    if (!eventually([&] { return inside == 3; })) return;
    echo(request, reply);
  });
  options.limits.handlers = 3;
  HttpServer server(std::move(options));
  std::vector<HttpProbe> probes;
  for (int i = 0; i < 3; ++i) probes.emplace_back(server.port());
  for (auto& probe : probes) probe.send(request_text("GET", "/"));
  for (auto& probe : probes) EXPECT_EQ(probe.response().status, 200);
}

}  // namespace
}  // namespace minke

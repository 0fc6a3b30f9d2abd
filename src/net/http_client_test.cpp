#include "net/http_client.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "net/http_stand_in.h"

namespace minke {
namespace {

using namespace std::chrono_literals;
using Peer = HttpStandIn::Peer;
using Request = HttpStandIn::Request;

// Answers every request with these bytes.
HttpStandIn::Handler always(std::string bytes) {
  return [bytes = std::move(bytes)](const Request&, Peer& peer) { peer.send(bytes); };
}

HttpResponse get(const std::string& url, HttpOptions options = {}) {
  return HttpClient(std::move(options)).request({.url = url});
}

// A port nobody listens on.
int free_port() { return HttpStandIn(always("")).port(); }

TEST(HttpClient, GetsABody) {
  const HttpStandIn server(always(http_response(200, {{"X-A", "b"}}, "hello")));
  const HttpResponse response = get(server.url("/x?y=1"));
  ASSERT_TRUE(response.ok()) << response.detail;
  EXPECT_EQ(response.body, "hello");
  EXPECT_EQ(*response.header("x-a"), "b");
  EXPECT_EQ(response.url, server.url("/x?y=1"));
  const Request seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "GET");
  EXPECT_EQ(seen.target, "/x?y=1");
  EXPECT_EQ(seen.header("Host"), fmt::format("127.0.0.1:{}", server.port()));
  EXPECT_EQ(seen.header("Accept-Encoding"), "identity");
}

TEST(HttpClient, PostsABodyAndReadsChunksPastInterimAnswers) {
  const HttpStandIn server([](const Request& request, Peer& peer) {
    peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n");
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    peer.send(fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", request.body.size(), request.body));
  });
  const std::string body(700'000, 'z');
  const HttpResponse response = HttpClient().request(
      {.method = "POST", .url = server.url("/"), .headers = {{"Content-Type", "text/plain"}}, .body = body});
  ASSERT_TRUE(response.ok()) << response.detail;
  EXPECT_EQ(response.body, "abc" + body);
  EXPECT_EQ(server.requests().at(0).body, body);
}

TEST(HttpClient, StreamsABodyOfSuccessOnly) {
  const std::string large(3'000'000, 'x');
  const HttpStandIn server([&](const Request& request, Peer& peer) {
    peer.send(http_response(request.target == "/good" ? 206 : 500, {}, large));
  });
  std::string streamed;
  HttpRequest request{.url = server.url("/good")};
  request.on_body = [&](const HttpResponse& head, Bytes bytes) {
    EXPECT_EQ(head.status, 206);
    streamed += as_text(bytes);
  };
  EXPECT_TRUE(HttpClient().request(request).ok());
  EXPECT_EQ(streamed, large);
  streamed.clear();
  request.url = server.url("/bad");
  const HttpResponse bad = HttpClient().request(request);
  EXPECT_EQ(bad.status, 500);
  EXPECT_EQ(bad.body.size(), 64u << 10);
  EXPECT_EQ(streamed, "");
}

TEST(HttpClient, WhatTheReceiverThrowsPassesThrough) {
  const HttpStandIn server(always(http_response(200, {}, "hello")));
  HttpRequest request{.url = server.url("/")};
  request.on_body = [](const HttpResponse&, Bytes) { throw Error("disk full", "x"); };
  EXPECT_THROW((void)HttpClient().request(request), Error);
}

TEST(HttpClient, HeadHasNoBodyHoweverLongItSaysItIs) {
  const HttpStandIn server(always("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\nETag: \"e\"\r\n\r\n"));
  const HttpResponse response = HttpClient().request({.method = "HEAD", .url = server.url("/")});
  EXPECT_TRUE(response.ok()) << response.detail;
  EXPECT_EQ(*response.header("ETag"), "\"e\"");
}

TEST(HttpClient, ABodyThatEndsBeforeItsTimeIsBroken) {
  for (const char* bytes :
       {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 200 OK\r\nContent-Le", "",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
    const HttpStandIn server(always(bytes));
    EXPECT_EQ(get(server.url("/")).failure, HttpFailure::broken) << bytes;
  }
  const HttpStandIn until_the_end(always("HTTP/1.1 200 OK\r\n\r\nall of it"));
  EXPECT_EQ(get(until_the_end.url("/")).body, "all of it");
}

TEST(HttpClient, WhatIsNotHttpIsMalformed) {
  for (const char* bytes :
       {"SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"}) {
    const HttpStandIn server(always(bytes));
    const HttpResponse response = get(server.url("/"));
    EXPECT_EQ(response.failure, HttpFailure::malformed) << bytes << response.detail;
    EXPECT_FALSE(response.ok());
  }
}

TEST(HttpClient, LimitsHoldForHeaderAndBody) {
  const HttpStandIn server([](const Request& request, Peer& peer) {
    if (request.target == "/header") {
      peer.send("HTTP/1.1 200 OK\r\n");
      while (peer.send("X-Filler: " + std::string(1000, 'x') + "\r\n")) continue;
    } else if (request.target == "/length") {
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n");
    } else {
      peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      while (peer.send("1000\r\n" + std::string(0x1000, 'x') + "\r\n")) continue;
    }
  });
  for (const char* path : {"/header", "/length", "/chunks"}) {
    const HttpResponse response = HttpClient().request({.url = server.url(path), .max_body = 100'000});
    EXPECT_EQ(response.failure, HttpFailure::malformed) << path << ": " << response.detail;
    EXPECT_LE(response.body.size(), 100'000u);
  }
}

TEST(HttpClient, RedirectsAreFollowedAsFarAsAsked) {
  const HttpStandIn other(always(http_response(200, {}, "other")));
  const HttpStandIn server([&](const Request& request, Peer& peer) {
    const auto to = [&](const std::string& place) {
      peer.send(http_response(302, {{"Location", place}}, "moved"));
    };
    if (request.target == "/a/1")
      to("../2?x");
    else if (request.target == "/2?x")
      peer.send(http_response(200, {}, "second"));
    else if (request.target == "/other")
      to(other.url("/there"));
    else if (request.target == "/loop")
      to("/loop");
    else if (request.target == "/nowhere")
      to("ftp://x/");
    else if (request.target == "/bad")
      to("http://");
  });
  EXPECT_EQ(get(server.url("/a/1")).body, "second");
  EXPECT_EQ(get(server.url("/other")).body, "other");
  EXPECT_EQ(get(server.url("/loop")).failure, HttpFailure::redirect);
  EXPECT_EQ(get(server.url("/nowhere")).failure, HttpFailure::redirect);
  EXPECT_EQ(get(server.url("/bad")).failure, HttpFailure::redirect);
  const HttpClient client;
  EXPECT_EQ(client.request({.url = server.url("/a/1"), .redirects = Redirects::none}).status, 302);
  EXPECT_EQ(client.request({.url = server.url("/a/1"), .redirects = Redirects::same_origin}).body, "second");
  const HttpResponse stopped =
      client.request({.url = server.url("/other"), .redirects = Redirects::same_origin});
  EXPECT_EQ(stopped.status, 302);
  EXPECT_EQ(*stopped.header("Location"), other.url("/there"));
  EXPECT_EQ(client.request({.method = "POST", .url = server.url("/a/1")}).status, 302);
}

TEST(HttpClient, SecretsStayWithTheHostTheyWereGivenFor) {
  std::string back;
  const HttpStandIn other(
      [&](const Request&, Peer& peer) { peer.send(http_response(302, {{"Location", back}}, "")); });
  const HttpStandIn server([&](const Request& request, Peer& peer) {
    if (request.target == "/first") return (void)peer.send(http_response(307, {{"Location", "/second"}}, ""));
    if (request.target == "/second")
      return (void)peer.send(http_response(302, {{"Location", other.url("/")}}, ""));
    peer.send(http_response(200, {}, "done"));
  });
  back = server.url("/third");
  const HttpResponse response = HttpClient().request(
      {.url = server.url("/first"), .headers = {{"Authorization", "Bearer t"}, {"Range", "bytes=0-"}}});
  EXPECT_EQ(response.body, "done");
  EXPECT_EQ(server.requests().at(0).header("Authorization"), "Bearer t");
  EXPECT_EQ(server.requests().at(1).header("Authorization"), "Bearer t");
  EXPECT_EQ(other.requests().at(0).header("Authorization"), "");
  EXPECT_EQ(other.requests().at(0).header("Range"), "bytes=0-");
  EXPECT_EQ(server.requests().at(2).header("Authorization"), "");  // the other host chose this place
}

TEST(HttpClient, FailuresNameWhatWentWrong) {
  const int port = free_port();
  const HttpResponse refused = get(fmt::format("http://127.0.0.1:{}/x?secret=1", port));
  EXPECT_EQ(refused.failure, HttpFailure::connect);
  const Error error = http_error(refused);
  EXPECT_EQ(error.subject(), fmt::format("http://127.0.0.1:{}/x", port));
  EXPECT_NE(error.happened().find("refused"), std::string::npos) << error.what();
  HttpRequest to_nowhere{.url = "http://no-such-host.invalid/"};
  to_nowhere.timeouts.connect = 2s;
  const HttpResponse unknown = HttpClient().request(to_nowhere);
  EXPECT_TRUE(unknown.failure == HttpFailure::name ||
              unknown.failure == HttpFailure::timeout);  // as the resolver is
  EXPECT_NE(http_error(unknown).happened().find("no-such-host.invalid"), std::string::npos);
  const HttpStandIn server(always(http_response(404, {}, "no\nsuch " + std::string(1000, 'x'))));
  const Error status = http_error(get(server.url("/y")));
  EXPECT_EQ(status.subject(), server.url("/y"));
  EXPECT_TRUE(status.happened().starts_with("HTTP 404 Status: no?such xxx")) << status.what();
  EXPECT_LT(status.happened().size(), 300u);
}

TEST(HttpClient, RequestsThatCannotBeSentAreRefused) {
  const HttpClient client;
  EXPECT_THROW((void)client.request({.url = "nonsense"}), Error);
  EXPECT_THROW((void)client.request({.url = "http://h/", .headers = {{"X", "a\r\nY: b"}}}), Error);
  EXPECT_THROW(HttpClient({.ca_file = "/nonexistent/ca.pem"}), Error);
}

TEST(HttpClient, SilenceAndDrippingEndInTimeouts) {
  const HttpStandIn server([](const Request& request, Peer& peer) {
    if (request.target == "/silent") {
      while (peer.sleep(1000)) continue;
    }
    peer.send(request.target == "/header" ? "HTTP/1.1 200 OK\r\n"
                                          : "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    while (peer.sleep(20) && peer.send(request.target == "/header" ? "X: y\r\n" : "x")) continue;
  });
  const HttpClient client;
  HttpRequest request;
  request.timeouts.idle = 200ms;
  request.timeouts.idle_bytes = 100;
  for (const char* path : {"/silent", "/header", "/body"}) {
    request.url = server.url(path);
    EXPECT_EQ(client.request(request).failure, HttpFailure::timeout) << path;
  }
  request.timeouts = {.total = 200ms};
  EXPECT_EQ(client.request(request).failure, HttpFailure::timeout);
}

TEST(HttpClient, IsCanceledWhileItWaits) {
  const HttpStandIn server([](const Request&, Peer& peer) {
    while (peer.sleep(1000)) continue;
  });
  std::atomic<bool> canceled = false;
  HttpRequest request{.url = server.url("/")};
  request.canceled = [&] { return canceled.load(); };
  std::thread later([&] {
    while (server.requests().empty()) std::this_thread::yield();
    canceled = true;
  });
  EXPECT_EQ(HttpClient().request(request).failure, HttpFailure::canceled);
  later.join();
}

class HttpClientTls : public testing::Test {
 protected:
  fs::path ca_ = fs::temp_directory_path() / fmt::format("minke-ca-{}.pem", ::getpid());
  void TearDown() override { fs::remove(ca_); }
  HttpOptions trusting(const Certificate& certificate) {
    write_file(ca_, certificate.pem());
    return {.ca_file = ca_};
  }
};

TEST_F(HttpClientTls, AGivenAuthorityIsTrustedOthersAreNot) {
  const Certificate certificate("DNS:localhost,IP:127.0.0.1");
  const HttpStandIn server(always(http_response(200, {}, std::string(1'000'000, 's'))), &certificate);
  EXPECT_EQ(get(server.url("/"), trusting(certificate)).body.size(), 1'000'000u);
  EXPECT_EQ(get(fmt::format("https://localhost:{}/", server.port()), trusting(certificate)).status, 200);
  const HttpResponse untrusted = get(server.url("/"));
  EXPECT_EQ(untrusted.failure, HttpFailure::tls);
  EXPECT_NE(untrusted.detail.find("self-signed"), std::string::npos) << untrusted.detail;
}

TEST_F(HttpClientTls, TheNameMustBeTheCertificates) {
  const Certificate certificate("DNS:example.org,DNS:*.lan");
  const HttpStandIn server(always(http_response(200, {}, "s")), &certificate);
  for (const char* host : {"localhost", "127.0.0.1"}) {
    const HttpResponse response =
        get(fmt::format("https://{}:{}/", host, server.port()), trusting(certificate));
    EXPECT_EQ(response.failure, HttpFailure::tls);
    EXPECT_NE(response.detail.find("mismatch"), std::string::npos) << response.detail;
  }
}

TEST_F(HttpClientTls, AnExpiredCertificateIsRefused) {
  const Certificate certificate("IP:127.0.0.1", -1);
  const HttpStandIn server(always(http_response(200, {}, "s")), &certificate);
  const HttpResponse response = get(server.url("/"), trusting(certificate));
  EXPECT_EQ(response.failure, HttpFailure::tls);
  EXPECT_NE(response.detail.find("expired"), std::string::npos) << response.detail;
}

TEST_F(HttpClientTls, PlainHttpIsNotTls) {
  const HttpStandIn server([](const Request&, Peer&) {});
  const HttpResponse response = get(fmt::format("https://127.0.0.1:{}/", server.port()));
  EXPECT_EQ(response.failure, HttpFailure::tls) << response.detail;
}

TEST_F(HttpClientTls, RedirectsDoNotLeaveTls) {
  const HttpStandIn plain(always(http_response(200, {}, "p")));
  const Certificate certificate("IP:127.0.0.1");
  const HttpStandIn server(always(http_response(302, {{"Location", plain.url("/")}}, "")), &certificate);
  EXPECT_EQ(get(server.url("/"), trusting(certificate)).failure, HttpFailure::redirect);
  EXPECT_TRUE(plain.requests().empty());
}

TEST(HttpClientProxy, PlainRequestsNameTheWholeUrl) {
  const HttpStandIn proxy(always(http_response(200, {}, "by proxy")));
  const HttpOptions options{.proxies = {.http = fmt::format("http://me:p%40ss@127.0.0.1:{}", proxy.port())}};
  EXPECT_EQ(get("http://example.invalid/a?b", options).body, "by proxy");
  EXPECT_EQ(proxy.requests().at(0).target, "http://example.invalid/a?b");
  EXPECT_EQ(proxy.requests().at(0).header("Host"), "example.invalid");
  EXPECT_EQ(proxy.requests().at(0).header("Proxy-Authorization"), "Basic bWU6cEBzcw==");
}

// A proxy that connects every CONNECT to one port on this machine.
void tunnel(int port, Peer& peer) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  peer.send("HTTP/1.1 200 Connected\r\n\r\n");
  std::thread forth([&] {
    char chunk[4096];
    while (const size_t n = peer.receive(chunk, sizeof chunk))
      if (::send(fd, chunk, n, MSG_NOSIGNAL) < 0) break;
    ::shutdown(fd, SHUT_WR);
  });
  char chunk[4096];
  for (ssize_t n; (n = ::recv(fd, chunk, sizeof chunk, 0)) > 0;)
    if (!peer.send({chunk, static_cast<size_t>(n)})) break;
  forth.join();
  ::close(fd);
}

TEST_F(HttpClientTls, TlsGoesThroughAProxysTunnel) {
  const Certificate certificate("DNS:hub.invalid");
  const HttpStandIn server(always(http_response(200, {}, "tunnelled")), &certificate);
  const HttpStandIn proxy([&](const Request& request, Peer& peer) {
    if (request.target == "hub.invalid:443")
      tunnel(server.port(), peer);
    else
      peer.send("HTTP/1.1 403 Forbidden\r\n\r\n");
  });
  HttpOptions options = trusting(certificate);
  options.proxies.https = fmt::format("127.0.0.1:{}", proxy.port());
  const HttpResponse response =
      HttpClient(options).request({.url = "https://hub.invalid/x", .headers = {{"Authorization", "t"}}});
  EXPECT_EQ(response.body, "tunnelled") << response.detail;
  EXPECT_EQ(proxy.requests().at(0).method, "CONNECT");
  EXPECT_EQ(proxy.requests().at(0).header("Authorization"), "");
  EXPECT_EQ(server.requests().at(0).target, "/x");
  const HttpResponse refused = get("https://other.invalid/x", options);
  EXPECT_EQ(refused.failure, HttpFailure::connect);
  EXPECT_NE(refused.detail.find("403"), std::string::npos) << refused.detail;
}

}  // namespace
}  // namespace minke

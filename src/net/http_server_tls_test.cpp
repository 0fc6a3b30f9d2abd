#include <filesystem>
#include <future>

#include <gtest/gtest.h>

#include "base/error.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/http_stand_in.h"
#include "net/server_fixture.h"

namespace minke {
namespace {

using namespace std::chrono_literals;

// A certificate and its key as files.
struct Identity {
  explicit Identity(const std::string& name)
      : made("DNS:localhost,IP:127.0.0.1"),
        certificate(fs::path(::testing::TempDir()) / (name + "_certificate.pem")),
        key(fs::path(::testing::TempDir()) / (name + "_key.pem")) {
    write_file(certificate, made.pem());
    write_file(key, made.key_pem());
  }
  Certificate made;
  fs::path certificate, key;
};

HttpServerOptions with(const Identity& identity, HttpServerOptions options = serving()) {
  options.listen.certificate = identity.certificate;
  options.listen.key = identity.key;
  return options;
}

struct ClientContext {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  ~ClientContext() { SSL_CTX_free(context); }
  operator SSL_CTX*() const { return context; }
};

TEST(HttpServerTls, AnswersOurClient) {
  const Identity identity("answers");
  HttpServer server(with(identity, serving([](const ServerRequest& request, const Reply& reply) {
                           EXPECT_TRUE(request.tls);
                           reply->start(200, {});
                           for (int i = 0; i < 100; ++i) reply->write(request.body);
                           reply->finish();
                         })));
  const HttpClient client({.ca_file = identity.certificate});
  HttpRequest request{.method = "POST", .url = fmt::format("https://localhost:{}/", server.port())};
  request.body = std::string(50'000, 'x');
  const HttpResponse response = client.request(request);
  ASSERT_TRUE(response.ok()) << response.detail;
  EXPECT_EQ(response.body.size(), 5'000'000u);
}

TEST(HttpServerTls, ChoosesVersionAndProtocol) {
  const Identity identity("chooses");
  HttpServer server(with(identity));
  ClientContext context;
  HttpProbe newest(server.port(), context);
  ASSERT_TRUE(newest.connected());
  EXPECT_EQ(SSL_version(newest.ssl()), TLS1_3_VERSION);
  EXPECT_EQ(newest.ask(request_text("GET", "/")).status, 200);
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>("\x02h2\x08http/1.1"), 12);
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  HttpProbe both(server.port(), context);
  ASSERT_TRUE(both.connected());
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(both.ssl(), &chosen, &size);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(chosen), size), "http/1.1");
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>("\x02h2"), 3);
  EXPECT_FALSE(HttpProbe(server.port(), context).connected());
  SSL_CTX_set_alpn_protos(context, nullptr, 0);
  SSL_CTX_set_security_level(context, 0);
  SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION);
  EXPECT_FALSE(HttpProbe(server.port(), context).connected());
}

TEST(HttpServerTls, ClientsGoAndLinger) {
  const Identity identity("linger");
  Flag gone, begun;
  HttpServer server(with(identity, serving([&](const ServerRequest& request, const Reply& reply) {
                           if (request.path != "/compute") return echo(request, reply);
                           reply->on_gone([&] { gone.set(); });
                           begun.set();
                           gone.wait();
                         })));
  ClientContext context;
  for (const bool politely : {true, false}) {
    HttpProbe probe(server.port(), context);
    ASSERT_EQ(probe.ask(request_text("POST", "/", "x")).body, "POST /? x");
    if (politely) probe.end_sending();
    probe.close();
  }
  {
    HttpProbe probe(server.port(), context);
    probe.send(request_text("GET", "/compute"));
    ASSERT_TRUE(begun.wait());
    const auto begin = std::chrono::steady_clock::now();
    probe.close();
    ASSERT_TRUE(gone.wait());
    EXPECT_LT(gone.at() - begin, 100ms);
  }
  HttpProbe probe(server.port(), context);
  EXPECT_TRUE(probe.send(request_text("POST", "/", std::string(40 << 20, 'x'))));
  EXPECT_EQ(probe.response().status, 413);
  EXPECT_TRUE(probe.ends_within(1s));
  EXPECT_TRUE(probe.ended());  // with TLS's own end
  probe.close();
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
}

TEST(HttpServerTls, HandshakesThatAreNoneEnd) {
  const Identity identity("handshake");
  HttpServerOptions options = with(identity);
  options.limits.header_time = 200ms;
  HttpServer server(std::move(options));
  HttpProbe plain(server.port());
  plain.send(request_text("GET", "/"));
  EXPECT_TRUE(plain.ends_within(1s));
  HttpProbe silent(server.port()), half(server.port());
  half.send("\x16\x03\x01\x02");
  EXPECT_TRUE(silent.ends_within(1s));
  EXPECT_TRUE(half.ends_within(1s));
  for (int i = 0; i < 20; ++i) HttpProbe(server.port()).send(i % 2 ? "\x16\x03\x01" : "");
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
  ClientContext context;
  EXPECT_EQ(HttpProbe(server.port(), context).ask(request_text("GET", "/")).status, 200);
}

TEST(HttpServerTls, TooManyConnectionsAreTold) {
  const Identity identity("many");
  HttpServerOptions options = with(identity);
  options.limits.connections = 1;
  HttpServer server(std::move(options));
  ClientContext context;
  HttpProbe first(server.port(), context);
  ASSERT_TRUE(first.connected());
  EXPECT_EQ(HttpProbe(server.port(), context).ask(request_text("GET", "/")).status, 503);
}

TEST(HttpServerTls, EndsAtOnceInAnyState) {
  const Identity identity("ends");
  const size_t files = open_files();
  {
    Flag begun;
    HttpServer server(with(identity, serving([&](const ServerRequest&, const Reply& reply) {
                             reply->start(200, {});
                             for (int i = 0; i < 100; ++i)
                               reply->write(std::string(50'000, 'x'));  // more than the client reads
                             begun.set();
                             while (!reply->gone()) std::this_thread::sleep_for(1ms);
                           })));
    ClientContext context;
    HttpProbe busy(server.port(), context), idle(server.port(), context), silent(server.port());
    HttpProbe lingering(server.port(), context);
    lingering.send("nonsense\r\n\r\n");
    busy.send(request_text("GET", "/"));
    ASSERT_TRUE(begun.wait());
  }
  EXPECT_EQ(open_files(), files);
}

std::string refusal(const fs::path& certificate, const fs::path& key) {
  HttpServerOptions options = serving();
  options.listen.certificate = certificate;
  options.listen.key = key;
  try {
    HttpServer server(std::move(options));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(HttpServerTls, NamesWhatIsWrongWithItsFiles) {
  const Identity one("one"), other("other");
  const fs::path missing = fs::path(::testing::TempDir()) / "missing.pem",
                 text = fs::path(::testing::TempDir()) / "text.pem";
  write_file(text, "no PEM at all\n");
  const auto names = [](const std::string& message, const fs::path& file, std::string_view what) {
    EXPECT_TRUE(message.starts_with(file.string())) << message;
    EXPECT_NE(message.find(what), message.npos) << message;
  };
  names(refusal(missing, one.key), missing, "cannot be used as a certificate");
  names(refusal(text, one.key), text, "cannot be used as a certificate");
  names(refusal(one.certificate, missing), missing, "cannot be used as a private key");
  names(refusal(one.certificate, text), text, "cannot be used as a private key");
  names(refusal(one.certificate, other.key), other.key,
        "it is not the key of the certificate " + one.certificate.string());
  names(refusal(one.certificate, {}), one.certificate, "both a certificate and its key");
  const fs::path locked = fs::path(::testing::TempDir()) / "locked.pem";
  write_file(locked, one.made.key_pem("secret"));
  names(refusal(one.certificate, locked), locked, "protected by a password");
}

}  // namespace
}  // namespace minke

#include "net/request_reader.h"

#include <algorithm>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

using Stage = RequestReader::Stage;

constexpr size_t kHeader = 1000, kBody = 100;

// Gives the reader what is not taken yet, `step` bytes more each time. Returns how many bytes it took.
size_t feed(RequestReader& reader, std::string_view text, size_t step = std::string_view::npos) {
  size_t taken = 0;
  for (size_t known = 0; known < text.size();) {
    known += std::min(step, text.size() - known);
    for (;;) {
      const Stage before = reader.stage();
      taken += reader.take(text.substr(taken, known - taken));
      if (reader.stage() == Stage::whole || reader.stage() == Stage::fault) return taken;
      if (reader.stage() == before) break;
    }
  }
  return taken;
}

int status_of(std::string_view text) {
  RequestReader reader(kHeader, kBody);
  feed(reader, text);
  if (reader.stage() == Stage::whole) return 200;
  return reader.stage() == Stage::fault ? reader.status() : 0;
}

std::string get(std::string_view fields, std::string_view body = "") {
  return "POST /x HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "\r\n" + std::string(body);
}

TEST(RequestReader, ReadsARequest) {
  RequestReader reader(kHeader, kBody);
  const std::string text =
      "POST /a%20b/%C3%A9?x=%2f&y HTTP/1.1\r\nHost: localhost:80\r\nX-A:  b c\t\r\nContent-Length: "
      "4\r\n\r\nbody";
  EXPECT_EQ(feed(reader, text + "GET"), text.size());
  ASSERT_EQ(reader.stage(), Stage::whole) << reader.what();
  const ServerRequest& request = reader.request();
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.path, "/a b/\xc3\xa9");
  EXPECT_EQ(request.query, "x=%2f&y");
  EXPECT_EQ(*request.header("x-a"), "b c");
  EXPECT_EQ(request.body, "body");
  EXPECT_TRUE(reader.keep_alive());
  EXPECT_FALSE(reader.is_http10());
}

TEST(RequestReader, StopsBetweenHeadAndBody) {
  RequestReader reader(kHeader, kBody);
  const std::string text = get("Content-Length: 4\r\nExpect: 100-Continue\r\n", "body");
  EXPECT_EQ(reader.take(text), text.size() - 4);
  EXPECT_EQ(reader.stage(), Stage::body);
  EXPECT_TRUE(reader.expects_continue());
  EXPECT_EQ(reader.take("body"), 4u);
  EXPECT_EQ(reader.stage(), Stage::whole);
}

TEST(RequestReader, KeepsAliveAsTheVersionsDo) {
  const auto keeps = [](const std::string& text) {
    RequestReader reader(kHeader, kBody);
    feed(reader, text);
    EXPECT_EQ(reader.stage(), Stage::whole) << text;
    return reader.keep_alive();
  };
  EXPECT_TRUE(keeps("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

TEST(RequestReader, ReadsChunks) {
  RequestReader reader(kHeader, kBody);
  feed(reader, get("Transfer-Encoding: Chunked\r\n",
                   "3;name=\"a;b\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n"));
  ASSERT_EQ(reader.stage(), Stage::whole) << reader.what();
  EXPECT_EQ(reader.request().body, "abc0123456789");
  EXPECT_EQ(reader.request().headers.size(), 2u);  // none of the trailer
  EXPECT_EQ(*reader.request().header("Host"), "h");
}

TEST(RequestReader, RefusesWrongChunks) {
  for (const char* body :
       {"x\r\n", "-1\r\nabc", "0x3\r\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n", "\r\n3\r\nabc\r\n0\r\n\r\n", "3\r\nabc0\r\n\r\n", "3\r\nabc\r\r\n",
        "3;a\rb\r\nabc", "3\r\nabc\r\n0\r\nno field\r\n\r\n", "0\r\na b: c\r\n\r\n",
        "0\r\na: b\r\n c\r\n\r\n", "11111111111111111\r\n"})
    EXPECT_EQ(status_of(get("Transfer-Encoding: chunked\r\n", body)), 400) << body;
  EXPECT_EQ(status_of(get("Transfer-Encoding: chunked\r\n", "3;" + std::string(20'000, 'a'))), 400);
  EXPECT_EQ(status_of(get("Transfer-Encoding: chunked\r\n", "0\r\nA: " + std::string(20'000, 'a'))), 400);
}

TEST(RequestReader, RefusesWhatTwoReadersCouldReadTwoWays) {
  for (const char* fields : {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                             "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                             "Content-Length: 3\r\nContent-Length: 4\r\n",
                             "Content-Length: 3\r\nContent-Length: 3\r\n",
                             "Content-Length: 3, 3\r\n",
                             "Content-Length: +3\r\n",
                             "Content-Length: 3 4\r\n",
                             "Content-Length: -3\r\n",
                             "Content-Length: 0x3\r\n",
                             "Content-Length:\r\n",
                             "Content-Length: 99999999999999999999\r\n",
                             "Content-Length : 3\r\n",
                             " Content-Length: 3\r\n",
                             "X: a\r\n b\r\n",
                             "X:\r\n\tb\r\n",
                             "X: a\nY: b\r\n",
                             "X: a\rY: b\r\n",
                             "X: a\r\r\nY: b\r\n",
                             "\nX: a\r\n",
                             "X\r\n",
                             ": a\r\n",
                             "X y: a\r\n",
                             "Host: other\r\n",
                             "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"})
    EXPECT_EQ(status_of(get(fields, "abcdefgh\r\n0\r\n\r\n")), 400) << fields;
  EXPECT_EQ(status_of(get(std::string("X: a\0b\r\n", 8))), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  for (const char* coding : {"gzip", "gzip, chunked", "chunked, gzip", "identity", "chunked;q=1", "xchunked"})
    EXPECT_EQ(status_of(get("Transfer-Encoding: " + std::string(coding) + "\r\n")), 501) << coding;
}

TEST(RequestReader, RefusesWhatIsNoRequest) {
  for (const char* text :
       {"GET /\r\n\r\n", "hello\r\n", "\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", "GET / http/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: h\r\n\r\n", "\x16\x03\x01\x02", "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"})
    EXPECT_EQ(status_of(text), 400) << text;
  EXPECT_EQ(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
  EXPECT_EQ(status_of("GET / HTTP/1.2\r\nHost: h\r\n\r\n"), 505);
  EXPECT_EQ(status_of(get("Expect: tea\r\n")), 417);
}

TEST(RequestReader, KeepsToItsLimits) {
  const std::string begin = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
  const std::string fits = begin + std::string(kHeader - begin.size() - 4, 'x') + "\r\n\r\n";
  EXPECT_EQ(status_of(fits), 200);
  EXPECT_EQ(status_of(begin + "y" + fits.substr(begin.size())), 431);
  EXPECT_EQ(status_of(begin + std::string(kHeader, 'x')), 431);
  EXPECT_EQ(status_of("GET /" + std::string(kHeader, 'x')), 431);
  EXPECT_EQ(status_of(get("Content-Length: 100\r\n", std::string(100, 'x'))), 200);
  EXPECT_EQ(status_of(get("Content-Length: 101\r\n")), 413);
  const std::string chunk = "32\r\n" + std::string(50, 'x') + "\r\n";
  EXPECT_EQ(status_of(get("Transfer-Encoding: chunked\r\n", chunk + chunk + "0\r\n\r\n")), 200);
  EXPECT_EQ(status_of(get("Transfer-Encoding: chunked\r\n", chunk + chunk + "1\r\n")), 413);
  EXPECT_EQ(status_of(get("Transfer-Encoding: chunked\r\n", "ffffffffffffff\r\n")), 413);
}

TEST(RequestReader, TakesOneEmptyLineBeforeARequest) {
  EXPECT_EQ(status_of("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), 200);
  EXPECT_EQ(status_of("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
}

TEST(RequestReader, TakesTheHostOfAnAbsoluteTarget) {
  RequestReader reader(kHeader, kBody);
  feed(reader, "GET http://Other:81/p?q HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_EQ(reader.stage(), Stage::whole) << reader.what();
  EXPECT_EQ(reader.request().path, "/p");
  EXPECT_EQ(reader.request().query, "q");
  EXPECT_EQ(*reader.request().header("Host"), "other:81");
  EXPECT_EQ(status_of("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
}

TEST(RequestReader, PathsDoNotLeadUpwards) {
  EXPECT_EQ(decode_path("/v1/models/a%2Fb?c=/.."), "/v1/models/a/b");
  EXPECT_EQ(decode_path("/a..b/..c/d../..."), "/a..b/..c/d../...");
  EXPECT_EQ(decode_path("/%252e%252e/"), "/%2e%2e/");
  for (const char* path :
       {"/..", "/../x", "/a/../b", "/%2e%2e/x", "/a%2f..", "/a/.%2E", "/..%2fx", "/..\\x", "/%5c..", "/a%00b",
        "/%0a", "/%7f", "/%ff", "/%c0%ae", "/%", "/%2", "/%zz", "x", ""})
    EXPECT_THROW(decode_path(path), Error) << path;
}

// However the bytes arrive, they are read in the same way.
RC_GTEST_PROP(RequestReader, SplitsDoNotMatter, ()) {
  const std::string text = *rc::gen::elementOf(std::vector<std::string>{
      get("Content-Length: 4\r\n", "body"),
      get("Transfer-Encoding: chunked\r\n", "3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nT: 1\r\n\r\n"),
      get("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
      get("X: " + std::string(2000, 'x') + "\r\n"),
      get("X: a\r\n b\r\n"),
      get("X: a\rb\r\n"),
      get("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n0\r\n\r\n"),
      "\r\nGET / HTTP/1.0\r\n\r\n",
  });
  RequestReader at_once(kHeader, kBody), in_parts(kHeader, kBody);
  const size_t all = feed(at_once, text + "GET");
  const size_t parts = feed(in_parts, text + "GET", *rc::gen::inRange<size_t>(1, 40));
  RC_ASSERT(at_once.stage() == in_parts.stage());
  RC_ASSERT(at_once.status() == in_parts.status());
  RC_ASSERT(at_once.request().body == in_parts.request().body);
  RC_ASSERT(at_once.request().headers == in_parts.request().headers);
  if (at_once.stage() == Stage::whole) RC_ASSERT(all == parts && all == text.size());
}

RC_GTEST_PROP(RequestReader, ChunksMakeTheBody, (const std::vector<std::string>& pieces)) {
  std::string body, chunks;
  for (const std::string& piece : pieces) {
    if (piece.empty() || body.size() + piece.size() > kBody) continue;
    body += piece;
    chunks += fmt::format("{:X}\r\n{}\r\n", piece.size(), piece);
  }
  RequestReader reader(kHeader, kBody);
  feed(reader, get("Transfer-Encoding: chunked\r\n", chunks + "0\r\n\r\n"), *rc::gen::inRange<size_t>(1, 40));
  RC_ASSERT(reader.stage() == Stage::whole);
  RC_ASSERT(reader.request().body == body);
}

}  // namespace
}  // namespace minke

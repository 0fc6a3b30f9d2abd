// room: net
// What arrives at the HTTP server: a stream of requests. They are the same however the bytes are split, keep
// to the limits, and what was read says the same when it is written and read again.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/escape.h"
#include "net/request_reader.h"
#include "net/url.h"

namespace {

using namespace minke;
using Stage = RequestReader::Stage;

constexpr size_t kHeader = 500, kBody = 300;

// Reads one request from the front of `text`, of which `step` bytes more are known each time. Returns what it
// took.
size_t read(RequestReader& reader, std::string_view text, size_t step) {
  size_t taken = 0;
  for (size_t known = 0; known < text.size();) {
    known += std::min(step, text.size() - known);
    for (;;) {
      const Stage before = reader.stage();
      const size_t n = reader.take(text.substr(taken, known - taken));
      MINKE_CHECK(n <= known - taken);
      taken += n;
      if (reader.stage() == Stage::whole || reader.stage() == Stage::fault) return taken;
      if (reader.stage() == before) break;
    }
  }
  return taken;
}

void check(const ServerRequest& request) {
  MINKE_CHECK(request.path.starts_with('/') && escaped(request.path) == request.path);
  MINKE_CHECK((request.path + "/").find("/../") == std::string::npos);
  MINKE_CHECK(request.body.size() <= kBody);
  size_t size = 0;
  for (const auto& [name, value] : request.headers) {
    check_header(name, value);
    size += name.size() + value.size();
  }
  MINKE_CHECK(size <= kHeader);
}

void write_and_read_again(const ServerRequest& request, bool http10) {
  std::string text = request.method + " " + percent_encode(request.path, "/");
  if (!request.query.empty()) text += "?" + request.query;
  text += http10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n";
  for (const auto& [name, value] : request.headers) {
    if (same_letters(name, "Transfer-Encoding") || same_letters(name, "Content-Length")) continue;
    text += name + ":" + value + "\r\n";
  }
  text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n\r\n" + request.body;
  RequestReader again(10 * kHeader, kBody);
  MINKE_CHECK(read(again, text, text.size()) == text.size() && again.stage() == Stage::whole);
  MINKE_CHECK(again.request().path == request.path && again.request().query == request.query);
  MINKE_CHECK(again.request().method == request.method && again.request().body == request.body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t step = 1 + data[0] % 64;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  while (!text.empty()) {
    RequestReader whole(kHeader, kBody), parts(kHeader, kBody);
    const size_t taken = read(whole, text, text.size());
    const size_t taken_in_parts = read(parts, text, step);
    MINKE_CHECK(whole.stage() == parts.stage());
    if (whole.stage() == Stage::fault) {
      MINKE_CHECK(whole.status() >= 400 && whole.status() < 600 && escaped(whole.what()) == whole.what());
      return 0;
    }
    if (whole.stage() != Stage::whole) return 0;
    MINKE_CHECK(taken == taken_in_parts && whole.request().body == parts.request().body);
    MINKE_CHECK(whole.request().headers == parts.request().headers);
    check(whole.request());
    write_and_read_again(whole.request(), whole.is_http10());
    text.remove_prefix(taken);
  }
  return 0;
}

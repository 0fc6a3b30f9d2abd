#include "net/request_reader.h"

#include <algorithm>
#include <charconv>

#include <boost/beast/http/basic_parser.hpp>
#include <fmt/core.h>

#include "base/error.h"
#include "base/escape.h"
#include "net/url.h"

namespace minke {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kMaxChunkLine = 1 << 10;  // a chunk's size with its extensions

size_t count(const HttpHeaders& headers, std::string_view name) {
  return static_cast<size_t>(std::count_if(
      headers.begin(), headers.end(), [&](const auto& field) { return same_letters(field.first, name); }));
}

bool is_host(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._:[]").find(c) != std::string_view::npos;
  });
}

// Whether the first line is a request's of another version.
bool has_version(std::string_view line) {
  const size_t at = line.rfind(' ');
  return std::count(line.begin(), line.end(), ' ') == 2 && line.substr(at + 1).starts_with("HTTP/") &&
         line.size() - at - 1 == std::string_view("HTTP/2.0").size();
}

bool leads_upwards(std::string_view path) {
  for (size_t at = path.find(".."); at != path.npos; at = path.find("..", at + 1)) {
    const bool begins = at == 0 || path[at - 1] == '/' || path[at - 1] == '\\';
    const bool ends = at + 2 == path.size() || path[at + 2] == '/' || path[at + 2] == '\\';
    if (begins && ends) return true;
  }
  return false;
}

// The grammar of the head is Beast's; where it is more lenient than we are, the checks stand in
// RequestReader. (Chunks are ours: Beast's parser has assertions that a split in the wrong place does not
// meet.)
struct Parser : http::basic_parser<true> {
  explicit Parser(ServerRequest& r) : request(r) {}

  ServerRequest& request;
  int version = 0;

 private:
  using View = boost::beast::string_view;

  void on_request_impl(http::verb, View method, View target, int v, error_code&) override {
    request.method = std::string(method);
    request.query = std::string(target);  // taken apart by read_target
    version = v;
  }
  void on_field_impl(http::field, View name, View value, error_code&) override {
    request.headers.emplace_back(std::string(name), std::string(value));
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  size_t on_body_impl(View, error_code&) override { return 0; }
  void on_chunk_header_impl(uint64_t, View, error_code&) override {}
  size_t on_chunk_body_impl(uint64_t, View, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}
  void on_response_impl(int, View, int, error_code&) override {}
};

}  // namespace

std::string decode_path(std::string_view target) {
  std::string path = percent_decode(target.substr(0, target.find('?')));
  if (!path.starts_with('/')) throw Error("the path does not begin with '/'", printable(target, 100));
  if (leads_upwards(path)) throw Error("the path leads upwards", printable(target, 100));
  if (escaped(path) != path) throw Error("the path is no printable UTF-8", printable(target, 100));
  return path;
}

RequestReader::RequestReader(size_t header_bytes, uint64_t body_bytes)
    : header_bytes_(header_bytes), body_bytes_(body_bytes) {}

size_t RequestReader::take(std::string_view bytes) {
  if (stage_ == Stage::head) return take_head(bytes);
  return stage_ == Stage::body ? take_body(bytes) : 0;
}

size_t RequestReader::take_head(std::string_view bytes) {
  // Some clients end a body with a line of its own (RFC 9112 section 2.2).
  if (!blank_taken_ && bytes.starts_with('\r')) {
    if (bytes.size() < 2) return 0;
    if (bytes[1] != '\n') return fail(400, "the request begins with a line break");
    blank_taken_ = true;
    return 2 + take_head(bytes.substr(2));
  }
  const size_t end = bytes.find("\r\n\r\n", checked_ < 3 ? 0 : checked_ - 3);
  const size_t size = end == bytes.npos ? bytes.size() : end + 4;
  if (size > header_bytes_)
    return fail(431, fmt::format("the header is longer than the {} bytes allowed", header_bytes_));
  if (!check_bytes(bytes, checked_, size)) return 0;
  checked_ = size;
  if (end == bytes.npos) {
    const size_t line = bytes.find("\r\n");
    if (line != bytes.npos && bytes.substr(0, line).find(" HTTP/") == bytes.npos)
      return fail(400, "the request does not begin as HTTP does");
    return 0;
  }
  parse_head(bytes.substr(0, size));
  return stage_ == Stage::fault ? 0 : size;
}

// Line breaks are \r\n, no line is continued in the next one, and no other control characters are there. A \r
// at the very end waits for what follows.
bool RequestReader::check_bytes(std::string_view bytes, size_t from, size_t end) {
  for (size_t i = from == 0 ? 0 : from - 1; i < end; ++i) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    const bool after_return = i > 0 && bytes[i - 1] == '\r', after_break = i > 0 && bytes[i - 1] == '\n';
    if (after_return != (c == '\n')) return fail(400, "a line break that is not CR LF"), false;
    if (after_break && (c == ' ' || c == '\t'))
      return fail(400, "a header line is continued in the next"), false;
    if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
      return fail(400, "a control character in the header"), false;
  }
  return true;
}

void RequestReader::parse_head(std::string_view head) {
  Parser parser(request_);
  parser.header_limit(static_cast<uint32_t>(head.size() + 1));
  parser.body_limit(boost::none);  // compared in check_head, when all else of the head is known
  error_code ec;
  size_t taken = 0;  // the parser may stop after the first line
  while (!ec && !parser.is_header_done() && taken < head.size())
    taken += parser.put({head.data() + taken, head.size() - taken}, ec);
  if (ec == http::error::bad_version && has_version(head.substr(0, head.find("\r\n")))) {
    fail(505, "this server speaks HTTP/1.1 and HTTP/1.0");
    return;
  }
  if (ec || !parser.is_header_done() || taken != head.size()) {
    fail(400, fmt::format("not a valid HTTP request: {}", ec ? ec.message() : "it ends too early"));
    return;
  }
  http10_ = parser.version == 10;
  keep_alive_ = parser.keep_alive();
  std::optional<uint64_t> length;
  if (parser.content_length()) length = *parser.content_length();
  check_head(parser.chunked(), length);
  if (stage_ == Stage::fault) return;
  part_ = parser.chunked() ? Part::chunk_size : Part::length;
  left_ = length.value_or(0);
  stage_ = part_ == Part::length && left_ == 0 ? Stage::whole : Stage::body;
}

void RequestReader::check_head(bool chunked, std::optional<uint64_t> length) {
  const HttpHeaders& headers = request_.headers;
  try {
    read_target();
  } catch (const Error& e) {
    fail(400, e.what());
    return;
  }
  const size_t hosts = count(headers, "Host");
  if (hosts > 1 || (hosts == 0 && !http10_)) {
    fail(400, hosts == 0 ? "there is no Host header" : "there is more than one Host header");
  } else if (hosts == 1 && !is_host(*find_header(headers, "Host"))) {
    fail(400, "the Host header is no host");
  } else if (count(headers, "Content-Length") > 1 ||
             (find_header(headers, "Content-Length") &&
              find_header(headers, "Content-Length")->find(',') != std::string::npos)) {
    fail(400, "there is more than one Content-Length");
  } else if (const std::string* coding = find_header(headers, "Transfer-Encoding")) {
    if (find_header(headers, "Content-Length"))
      fail(400, "there are both a Content-Length and a Transfer-Encoding");
    else if (http10_)
      fail(400, "HTTP/1.0 has no Transfer-Encoding");
    else if (!chunked || !same_letters(*coding, "chunked"))
      fail(501, "the only Transfer-Encoding known here is chunked");
  } else if (length.value_or(0) > body_bytes_) {
    fail(413, fmt::format("a body of {} bytes, at most {} are allowed", *length, body_bytes_));
  }
  const std::string* expected = find_header(headers, "Expect");
  if (stage_ == Stage::fault || !expected || http10_) return;
  if (!same_letters(*expected, "100-continue")) fail(417, "the only Expect known here is 100-continue");
  expects_continue_ = true;
}

// "/path?query" or, as to a proxy, "http://host/path?query", whose host then counts (RFC 9112 section 3.2.2).
void RequestReader::read_target() {
  std::string target = std::move(request_.query);
  request_.query.clear();
  if (target.find('#') != std::string::npos) throw Error("a fragment is not sent", printable(target, 100));
  if (!target.starts_with('/')) {
    const Url url = parse_url(target);
    target = url.target;
    for (auto& [name, value] : request_.headers)
      if (same_letters(name, "Host")) value = url.authority();
  }
  request_.path = decode_path(target);
  if (const size_t query = target.find('?'); query != std::string::npos)
    request_.query = target.substr(query + 1);
}

size_t RequestReader::take_body(std::string_view bytes) {
  size_t taken = 0;
  while (stage_ == Stage::body) {
    const bool data = part_ == Part::length || part_ == Part::chunk;
    const size_t n = data ? take_data(bytes.substr(taken)) : take_line(bytes.substr(taken));
    if (n == 0) break;
    taken += n;
  }
  return taken;
}

size_t RequestReader::take_data(std::string_view bytes) {
  const size_t n = std::min<uint64_t>(bytes.size(), left_);
  request_.body += bytes.substr(0, n);
  left_ -= n;
  if (left_ == 0) {
    if (part_ == Part::length) stage_ = Stage::whole;
    part_ = Part::chunk_end;
  }
  return n;
}

// What stands between chunks is lines; what they hold is read when they are whole.
size_t RequestReader::take_line(std::string_view bytes) {
  const size_t end = bytes.find("\r\n");
  const std::string_view line = bytes.substr(0, end);
  const bool waits_for_newline = end == bytes.npos && line.ends_with('\r');
  for (const char c : line.substr(0, line.size() - (waits_for_newline ? 1 : 0)))
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
      return fail(400, "not a valid body: a control character between its chunks");
  if (line.size() > (part_ == Part::trailer ? header_bytes_ : kMaxChunkLine))
    return fail(400, "not a valid body: a line between its chunks is too long");
  if (part_ == Part::chunk_end && !line.empty() && line != "\r")
    return fail(400, "not a valid body: a chunk is longer than it says");
  if (end == bytes.npos) return 0;
  if (part_ == Part::chunk_size) {
    read_chunk_size(line);
  } else if (part_ == Part::chunk_end) {
    part_ = Part::chunk_size;
  } else {
    read_trailer(line);
  }
  return stage_ == Stage::fault ? 0 : end + 2;
}

// "1a;name=value": what stands behind the size means nothing to us (RFC 9112 section 7.1.1).
void RequestReader::read_chunk_size(std::string_view line) {
  const auto [digits_end, error] = std::from_chars(line.data(), line.data() + line.size(), left_, 16);
  const size_t digits = static_cast<size_t>(digits_end - line.data());
  if (error != std::errc() || (digits < line.size() && line[digits] != ';')) {
    fail(400, "not a valid body: not the size of a chunk");
  } else if (left_ > body_bytes_ - request_.body.size()) {
    fail(413, fmt::format("the body is longer than the {} bytes allowed", body_bytes_));
  } else {
    part_ = left_ == 0 ? Part::trailer : Part::chunk;
  }
}

// Fields behind the last chunk are passed over: nobody asked for them.
void RequestReader::read_trailer(std::string_view line) {
  if (line.empty()) {
    stage_ = Stage::whole;
    return;
  }
  trailer_ += line.size() + 2;
  const size_t colon = line.find(':');
  if (trailer_ > header_bytes_ || colon == line.npos || colon == 0 ||
      line.substr(0, colon).find_first_of(" \t") != line.npos)
    fail(400, "not a valid body: the trailer is too long or no header");
}

size_t RequestReader::fail(int status, const std::string& what) {
  stage_ = Stage::fault;
  status_ = status;
  what_ = escaped(what);  // it may show what came
  if (request_.path.empty()) request_.path.assign(1, '/');
  return 0;
}

}  // namespace minke

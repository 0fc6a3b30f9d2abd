#include "net/response_text.h"

#include <ctime>

#include <fmt/core.h>

#include "base/error.h"

namespace minke {
namespace {

struct Phrase {
  int status;
  const char* text;
};

constexpr Phrase kPhrases[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

// Clients read the number only: a status without a phrase of its own is sent with none.
const char* phrase_of(int status) {
  for (const Phrase& phrase : kPhrases)
    if (phrase.status == status) return phrase.text;
  return "";
}

bool is_own_header(std::string_view name) {
  for (const char* own : {"Content-Length", "Transfer-Encoding", "Connection", "Date"})
    if (same_letters(name, own)) return true;
  return false;
}

std::string date_now() {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  std::tm t{};
  ::gmtime_r(&now, &t);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon],
                     t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

}  // namespace

bool has_no_body(int status) { return status == 204 || status == 304; }

std::string response_head(const ResponseFrame& frame, const HttpHeaders& headers) {
  MINKE_CHECK(frame.status >= 200 && frame.status <= 599, "status {}", frame.status);
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", frame.status, phrase_of(frame.status), date_now());
  for (const auto& [name, value] : headers) {
    check_header(name, value);
    MINKE_CHECK(!is_own_header(name), "header {} is the server's", name);
    text.append(name).append(": ").append(value).append("\r\n");
  }
  if (frame.end == BodyEnd::length) text += fmt::format("Content-Length: {}\r\n", frame.length);
  if (frame.end == BodyEnd::chunked) text += "Transfer-Encoding: chunked\r\n";
  if (!frame.keep_alive || frame.end == BodyEnd::close)
    text += "Connection: close\r\n";
  else if (frame.http10)
    text += "Connection: keep-alive\r\n";
  return text + "\r\n";
}

void append_chunk(std::string& out, std::string_view bytes) {
  if (bytes.empty()) return;
  out += fmt::format("{:x}\r\n", bytes.size());
  out.append(bytes).append("\r\n");
}

}  // namespace minke

#pragma once
// Responses as they stand on the wire (RFC 9112 sections 4 to 7).

#include <cstdint>
#include <string>
#include <string_view>

#include "net/header.h"

namespace minke {

// How a response's body ends.
enum class BodyEnd {
  length,   // after Content-Length bytes
  chunked,  // with the last chunk
  close,    // with the connection: HTTP/1.0 knows no chunks
  none,     // there is none, nor a length: 204, 304
};

struct ResponseFrame {
  int status = 200;
  BodyEnd end = BodyEnd::length;
  uint64_t length = 0;
  bool keep_alive = true;
  bool http10 = false;  // the request was: keeping alive is said
};

// The status line and the header up to the empty line, with Date, Connection and what says where the body
// ends: those are not among the given headers. Throws Error where one of these could not be sent
// (check_header).
std::string response_head(const ResponseFrame& frame, const HttpHeaders& headers);

void append_chunk(std::string& out,
                  std::string_view bytes);  // nothing where bytes are none: that would end the body
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

bool has_no_body(int status);  // 204, 304

}  // namespace minke

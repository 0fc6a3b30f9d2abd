#pragma once
// Bytes to one HTTP/1.1 request (RFC 9112), strictly: what two readers could take for two different things is
// refused.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/http_server.h"

namespace minke {

// The path of a request's target: without its query, percent-decoded. Throws Error where it does not begin
// with '/', leads upwards ("..", however it is written), or is no UTF-8 without control characters once it is
// decoded.
std::string decode_path(std::string_view target);

class RequestReader {
 public:
  // head: the head is not whole; body: it is, its body is not; whole; fault: no request, and none can follow.
  enum class Stage { head, body, whole, fault };

  RequestReader(size_t header_bytes, uint64_t body_bytes);

  // Takes from the front of `bytes` and says how many; stops where the stage changes. What is left is given
  // again, with what has come since.
  size_t take(std::string_view bytes);

  Stage stage() const { return stage_; }
  ServerRequest& request() {
    return request_;
  }  // its head from Stage::body on; after a fault, what is known of it
  bool is_http10() const { return http10_; }
  bool keep_alive() const { return keep_alive_; }
  bool expects_continue() const { return expects_continue_; }

  int status() const { return status_; }  // of the fault
  const std::string& what() const { return what_; }

 private:
  enum class Part { length, chunk_size, chunk, chunk_end, trailer };  // of the body: what comes next

  size_t take_head(std::string_view bytes);
  bool check_bytes(std::string_view bytes, size_t from, size_t end);
  void parse_head(std::string_view head);
  void check_head(bool chunked, std::optional<uint64_t> length);
  void read_target();
  size_t take_body(std::string_view bytes);
  size_t take_data(std::string_view bytes);
  size_t take_line(std::string_view bytes);
  void read_chunk_size(std::string_view line);
  void read_trailer(std::string_view line);
  size_t fail(int status, const std::string& what);  // 0

  size_t header_bytes_;
  uint64_t body_bytes_;
  Stage stage_ = Stage::head;
  ServerRequest request_;
  bool http10_ = false, keep_alive_ = false, expects_continue_ = false;
  size_t checked_ = 0;        // bytes of the head that check_bytes has seen
  bool blank_taken_ = false;  // the one empty line that may stand before a request
  Part part_ = Part::length;
  uint64_t left_ = 0;  // bytes of the body, or of the chunk, that have not come
  size_t trailer_ = 0;
  int status_ = 0;
  std::string what_;
};

}  // namespace minke

#pragma once
// Server-sent events as they arrive (https://html.spec.whatwg.org/multipage/server-sent-events.html).

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace minke {

struct ServerSentEvent {
  std::string name;  // empty: "message"
  std::string data;  // its lines joined by line feeds
};

// Lines may end in CR, LF or both, and be cut anywhere.
class SseReader {
 public:
  using OnEvent = std::function<void(const ServerSentEvent&)>;
  explicit SseReader(OnEvent on_event, size_t max_event_bytes = size_t{64} << 20)
      : on_event_(std::move(on_event)), max_(max_event_bytes) {}

  void feed(std::string_view bytes);  // throws Error where an event is too long, and what on_event throws

 private:
  void line();

  OnEvent on_event_;
  size_t max_;
  std::string line_;
  ServerSentEvent event_;
  bool has_data_ = false, after_cr_ = false;
};

}  // namespace minke

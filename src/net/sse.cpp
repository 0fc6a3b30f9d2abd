#include "net/sse.h"

#include <utility>

namespace minke {

void SseReader::feed(std::string_view bytes) {
  for (const char c : bytes) {
    const bool line_feed_of_cr = std::exchange(after_cr_, c == '\r') && c == '\n';
    if (line_feed_of_cr) continue;
    if (c == '\r' || c == '\n') {
      line();
    } else {
      line_ += c;
      if (line_.size() + event_.data.size() > max_)
        throw Error("an event without end", "the server's stream");
    }
  }
}

// A comment begins with a colon, so its field has no name; unknown fields are passed over as well.
void SseReader::line() {
  const std::string line = std::exchange(line_, {});
  if (line.empty()) {
    ServerSentEvent event = std::exchange(event_, {});
    if (std::exchange(has_data_, false)) on_event_(event);
    return;
  }
  const size_t colon = std::min(line.find(':'), line.size());
  const std::string_view field = std::string_view(line).substr(0, colon);
  std::string_view value = std::string_view(line).substr(std::min(colon + 1, line.size()));
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "event") event_.name = value;
  if (field == "data") {
    if (std::exchange(has_data_, true)) event_.data += '\n';
    event_.data += value;
  }
}

}  // namespace minke

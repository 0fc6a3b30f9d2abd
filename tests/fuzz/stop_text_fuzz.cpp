// room: engine
// Stop strings and a text: where it stops does not depend on the parts it comes in. The first byte says how
// the text is cut; lines are the stop strings, the last one the text.

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/stop_text.h"

namespace {

struct Seen {
  std::string text, stopped;
  bool operator==(const Seen&) const = default;
};

Seen run(const std::vector<std::string>& stops, std::string_view text, size_t part, size_t step) {
  minke::StopText stream(stops);
  Seen seen;
  while (!text.empty()) {
    const size_t n = std::min(text.size(), part);
    seen.text += stream.push(text.substr(0, n));
    text.remove_prefix(n);
    part = 1 + (part + step) % 7;
  }
  seen.text += stream.finish();
  seen.stopped = stream.stopped();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string> stops;
  for (size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1))
    if (end > 0) stops.emplace_back(text.substr(0, end));
  const Seen whole = run(stops, text, text.size() + 1, 0);
  MINKE_CHECK(whole == run(stops, text, 1, 6));
  MINKE_CHECK(whole == run(stops, text, 1 + data[0] % 7, data[0] / 7));
  MINKE_CHECK(text.starts_with(whole.text));
  if (whole.stopped.empty()) {
    MINKE_CHECK(whole.text == text);
    for (const std::string& stop : stops) MINKE_CHECK(text.find(stop) == text.npos);
  } else {
    MINKE_CHECK(text.substr(whole.text.size()).starts_with(whole.stopped));
  }
  for (const std::string& stop : stops) MINKE_CHECK(whole.text.find(stop) == whole.text.npos);
  return 0;
}

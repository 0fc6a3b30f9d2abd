// room: net
// A stream of server-sent events: the same events however it is cut.

#include <string>
#include <string_view>

#include "base/error.h"
#include "net/sse.h"

namespace {

using namespace minke;

std::string read(std::string_view text, size_t piece) {
  std::string all;
  SseReader reader([&](const ServerSentEvent& e) { all += e.name + '\0' + e.data + '\0'; }, 4096);
  try {
    for (size_t at = 0; at < text.size(); at += piece) reader.feed(text.substr(at, piece));
  } catch (const Error&) {
    all += "too long";
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string whole = read(text, size);
  MINKE_CHECK(read(text, 1) == whole);
  MINKE_CHECK(read(text, 1 + data[0] % 16) == whole);
  return 0;
}

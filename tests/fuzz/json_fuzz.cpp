// room: base
// Any text either parses, and then survives a round trip, or is refused with an Error.

#include "base/error.h"
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  minke::Json json;
  try {
    json = minke::parse_json({reinterpret_cast<const char*>(data), size});
  } catch (const minke::Error&) {
    return 0;
  }
  MINKE_CHECK(minke::parse_json(minke::to_string(json)) == json);
  MINKE_CHECK(minke::parse_json(minke::to_string(json, 2)) == json);
  return 0;
}

// room: base
// Any text either is an object that JSON can say, or is refused with an Error that names file and line.

#include "base/error.h"
#include "base/toml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  minke::Json json;
  try {
    json = minke::parse_toml({reinterpret_cast<const char*>(data), size}, "file");
  } catch (const minke::Error& e) {
    MINKE_CHECK(e.subject().starts_with("file"), "{}", e.what());
    return 0;
  }
  MINKE_CHECK(json.is_object());
  MINKE_CHECK(minke::parse_json(minke::to_string(json)) == json);
  return 0;
}

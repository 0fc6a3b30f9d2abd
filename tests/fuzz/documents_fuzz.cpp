// room: train
// Any bytes are a file of documents, compressed or not, or are refused with an Error. The first byte says
// which kind.

#include <fstream>
#include <unistd.h>

#include "base/error.h"
#include "text/utf8.h"
#include "train/documents.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const bool lines = (data[0] & 1) != 0, skip = (data[0] & 2) != 0;
  const minke::fs::path path =
      minke::fs::temp_directory_path() /
      ("minke-documents-fuzz-" + std::to_string(::getpid()) + (lines ? ".jsonl" : ".txt"));
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data + 1), static_cast<std::streamsize>(size - 1));
  try {
    minke::DocumentReader reader({path}, {.separator = (data[0] & 4) != 0 ? "%%" : "", .skip_invalid = skip});
    minke::Document document;
    while (reader.next(document)) {
      MINKE_CHECK(document.chat.is_null() != document.text.empty());
      MINKE_CHECK(minke::find_invalid_utf8(document.text) == std::string::npos);
    }
    MINKE_CHECK(reader.done() == static_cast<int64_t>(size - 1));
  } catch (const minke::Error&) {
  }
  minke::fs::remove(path);
  return 0;
}

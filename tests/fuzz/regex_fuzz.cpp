// room: text
// A pattern and a text, a newline between them: the pattern is refused, or matches the same whether failures
// are remembered from the start or only once there are many, and in time.

#include "base/error.h"
#include "text/regex.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minke;
  static const UnicodeSets unicode;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\n'), input.size());
  try {
    const Regex regex(input.substr(0, end), unicode);
    const std::string text = mend_utf8(input.substr(std::min(end + 1, input.size())));
    RegexScratch scratch, careful_scratch;
    RegexSearch search(regex, text, scratch), careful(regex, text, careful_scratch);
    careful.be_careful();
    for (size_t done = 0; search.next(); done = search.match_offset() + search.match().size()) {
      MINKE_CHECK(careful.next());
      MINKE_CHECK(search.match_offset() >= done);
      MINKE_CHECK(search.match_offset() == careful.match_offset() && search.match() == careful.match());
      MINKE_CHECK(find_invalid_utf8(search.match()) == std::string_view::npos);
    }
    MINKE_CHECK(!careful.next());
  } catch (const Error& error) {
    MINKE_CHECK(find_invalid_utf8(error.what()) == std::string_view::npos);
  }
  return 0;
}

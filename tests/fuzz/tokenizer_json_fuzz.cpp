// room: text
// Any tokenizer.json is refused with an Error, or loads and then encodes and decodes a short text.

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minke;
  constexpr std::string_view kText = "<s> Hello, the 12 world's\n\n  \tÉé e\u0301 中文 😀 <think></think>";
  try {
    const Tokenizer tokenizer = Tokenizer::from_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    for (const Added added : {Added::all, Added::special_as_text, Added::none}) {
      const auto tokens = tokenizer.encode(kText, added);
      Detokenizer detokenizer(tokenizer);
      std::string streamed;
      for (const Token token : tokens) {
        MINKE_CHECK(added == Added::all || !tokenizer.is_special(token) ||
                    tokenizer.bytes(token).size() == 1);
        streamed += detokenizer.push(token);
      }
      MINKE_CHECK(streamed + detokenizer.finish() == tokenizer.decode(tokens));
    }
  } catch (const Error& error) {
    MINKE_CHECK(find_invalid_utf8(error.what()) == std::string_view::npos);
  }
  return 0;
}

// room: text
// Any GGUF is refused with an Error, or gives a tokenizer that encodes and decodes a short text, or says why
// it gives none.

#include <string>
#include <string_view>

#include "base/error.h"
#include "formats/gguf.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minke;
  constexpr std::string_view kText = "<s> Hello, the 12 world's\n\n  \tÉé e\u0301 中文 😀 <|im_end|>";
  try {
    const Gguf gguf = Gguf::parse({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    const Tokenizer tokenizer = Tokenizer::from_gguf(gguf);
    for (const Added added : {Added::all, Added::special_as_text, Added::none}) {
      const auto tokens = tokenizer.encode(kText, added);
      std::string streamed;
      Detokenizer detokenizer(tokenizer);
      for (const Token token : tokens) streamed += detokenizer.push(token);
      MINKE_CHECK(streamed + detokenizer.finish() == tokenizer.decode(tokens));
    }
    for (const Token token : tokenizer.end_tokens()) MINKE_CHECK(token >= 0 && token < tokenizer.size());
    for (const auto token : {tokenizer.bos(), tokenizer.eos()})
      MINKE_CHECK(!token || (*token >= 0 && *token < tokenizer.size()));
  } catch (const Error& error) {
    MINKE_CHECK(error.subject().starts_with("fuzz"), "{}", error.what());
    MINKE_CHECK(find_invalid_utf8(error.what()) == std::string_view::npos);
  }
  return 0;
}

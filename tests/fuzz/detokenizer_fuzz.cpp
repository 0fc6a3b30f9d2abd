// room: text
// Any tokens, in a stream: what comes out is whole characters each time, joined it is what decode gives for
// all of them, and a token that does not exist is refused. The first byte chooses whether special tokens are
// left out; a token is a byte, or two after 0xFF.

#include <string>
#include <vector>

#include "base/error.h"
#include "text/small_tokenizer.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minke;
  static const Tokenizer tokenizer = Tokenizer::from_json(to_string(small_tokenizer()), "small");
  if (size == 0) return 0;
  const bool skip_special = data[0] % 2 != 0;
  std::vector<Token> tokens;
  std::string streamed, raw;
  Detokenizer detokenizer(tokenizer, skip_special);
  for (size_t i = 1; i < size; ++i) {
    Token token = data[i];
    if (token == 0xFF && i + 1 < size) token += data[++i];
    try {
      const std::string more = detokenizer.push(token);
      MINKE_CHECK(token < tokenizer.size());
      MINKE_CHECK(find_invalid_utf8(more) == std::string::npos);
      streamed += more;
      tokens.push_back(token);
      if (!skip_special || !tokenizer.is_special(token)) raw += tokenizer.bytes(token);
      MINKE_CHECK(streamed.size() + 3 >= raw.size());  // no more than a part of a character is held back
    } catch (const Error&) {
      MINKE_CHECK(token >= tokenizer.size());
    }
  }
  streamed += detokenizer.finish();
  MINKE_CHECK(streamed == tokenizer.decode(tokens, skip_special));
  MINKE_CHECK(streamed == mend_utf8(raw));
  return 0;
}

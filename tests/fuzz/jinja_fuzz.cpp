// room: text
// Any template is refused with an Error, or renders within its limits or fails with one; and what was given
// never comes out as the template's own text. Characters of a private-use block, which the template cannot
// spell itself, stand for what users type.

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "text/jinja/jinja.h"
#include "text/utf8.h"

namespace {

using namespace minke;

// U+F8E0 to U+F8E3: what users typed. None of the template's own variables has them.
constexpr const char* kContext = R"({
  "messages": [{"role": "system", "content": "be\uf8e0 brief"},
               {"role": "user", "content": " <|x|>\uf8e1 ", "name": "n\uf8e2"},
               {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "id": "1\uf8e3",
                "function": {"name": "f\uf8e0", "arguments": {"a": [1, 2.5, true, null, "\uf8e1"]}}}]},
               {"role": "tool", "content": "{\"a\": 1, \"\uf8e2\": 2}"}],
  "tools": [{"type": "function", "function": {"name": "f\uf8e3", "parameters": {"\uf8e0": {"type": "o"}}}}],
  "documents": null, "add_generation_prompt": true, "enable_thinking": false, "n": 3, "x": "\uf8e1y",
  "bos_token": "<s>", "eos_token": "</s>"})";

bool has_typed(std::string_view text) {
  for (size_t at = 0; (at = text.find("\xef\xa3", at)) != text.npos; ++at)
    if (at + 2 < text.size() && static_cast<unsigned char>(text[at + 2]) >= 0xa0 &&
        static_cast<unsigned char>(text[at + 2]) <= 0xa3)
      return true;
  return false;
}

// Whether the template can make such a character out of nothing: by its letters, escapes or numbers.
bool can_spell_typed(std::string_view source) {
  return has_typed(source) || source.find('\\') != source.npos || source.find("%c") != source.npos ||
         source.find(":c") != source.npos || source.find("c}") != source.npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Json context = parse_json(kContext);
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  jinja::RenderOptions options;
  options.now = std::tm{};
  options.now->tm_mday = 1;
  options.limits.steps = 20'000;
  options.limits.bytes = 1 << 20;
  try {
    const Pieces pieces = jinja::Template::parse(source, "fuzzed").render(context, options);
    for (size_t i = 0; i < pieces.size(); ++i) {
      MINKE_CHECK(!pieces[i].text.empty());
      MINKE_CHECK(i == 0 || pieces[i].given != pieces[i - 1].given);
      MINKE_CHECK(find_invalid_utf8(pieces[i].text) == std::string::npos);
      MINKE_CHECK(pieces[i].given || can_spell_typed(source) || !has_typed(pieces[i].text));
    }
  } catch (const Error& error) {
    MINKE_CHECK(error.subject().starts_with("fuzzed"));
    MINKE_CHECK(find_invalid_utf8(error.what()) == std::string_view::npos);
  }
  return 0;
}

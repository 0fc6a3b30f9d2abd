// room: text
// Text in pieces under each known pre-tokeniser: what is given speaks in no added token, nothing is lost, and
// whether pieces are all of one source does not matter. The first byte chooses the pre-tokeniser; pieces
// begin with \x01 (template) or \x02 (given).

#include <vector>

#include "base/error.h"
#include "text/pre_tokenizer.h"
#include "text/small_tokenizer.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using namespace minke;

std::vector<Tokenizer> make_tokenizers() {
  std::vector<Tokenizer> tokenizers;
  for (const char* name :
       {"deepseek-v3", "qwen2", "llama-bpe", "gpt-2", "smollm", "llama4", "deepseek-llm"}) {
    JsonArray steps;
    const std::vector<SplitRule> rules = *known_split_rules(name);
    for (const SplitRule& rule : rules) {
      Json step = parse_json(R"({"type": "Split", "behavior": "Isolated", "pattern": {}})");
      step.find("pattern")->set("Regex", rule.pattern);
      steps.push_back(std::move(step));
    }
    steps.push_back(parse_json(R"({"type": "ByteLevel", "use_regex": false, "add_prefix_space": false})"));
    Json json = small_tokenizer();
    json.set("normalizer", nullptr);
    json.set("pre_tokenizer", parse_json(R"({"type": "Sequence"})")).set("pretokenizers", std::move(steps));
    tokenizers.push_back(Tokenizer::from_json(to_string(json), name));
    MINKE_CHECK(tokenizers.back().pre_name() == name || tokenizers.size() == 2);
  }
  return tokenizers;
}

Pieces cut(std::string_view text) {
  Pieces pieces;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\x01\x02", 1), text.size());
    const bool marked = text[0] == '\x01' || text[0] == '\x02';
    pieces.push_back({text[0] == '\x02', mend_utf8(text.substr(marked, end - marked))});
    text.remove_prefix(end);
  }
  return pieces;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<Tokenizer> tokenizers = make_tokenizers();
  if (size == 0) return 0;
  const Tokenizer& tokenizer = tokenizers[data[0] % tokenizers.size()];
  Pieces pieces = cut({reinterpret_cast<const char*>(data) + 1, size - 1});
  const std::string text = plain(pieces);
  const auto added = [&](const std::vector<Token>& tokens) {
    size_t count = 0;
    for (const Token token : tokens) count += tokenizer.is_added(token);
    return count;
  };
  const auto tokens = tokenizer.encode(pieces), all = tokenizer.encode(text),
             none = tokenizer.encode(text, Added::none);
  for (const auto& list : {tokens, all, none}) MINKE_CHECK(tokenizer.decode(list) == text);
  MINKE_CHECK(added(none) == 0);
  MINKE_CHECK(added(tokens) <= added(all));
  for (Piece& piece : pieces) piece.given = true;
  MINKE_CHECK(tokenizer.encode(pieces) == none);
  for (Piece& piece : pieces) piece.given = false;
  MINKE_CHECK(tokenizer.encode(pieces) == all);
  return 0;
}

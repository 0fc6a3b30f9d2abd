#pragma once
// For tests: a tokenizer.json small enough to be damaged thousands of times, with a little of everything.

#include <string>
#include <vector>

#include "base/json.h"
#include "text/utf8.h"

namespace minke {

// Ids 0 to 255 are the bytes in the order of their written characters; the merges' results follow, then the
// added tokens <bos>, <eos>, <think> (not special) and <x> (normalized).
inline Json small_tokenizer() {
  Json vocab, merges = JsonArray{};
  std::vector<std::string> letters;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    if (itself) append_utf8(letters.emplace_back(), static_cast<char32_t>(byte));
  }
  for (char32_t c = 0x100; c < 0x144; ++c) append_utf8(letters.emplace_back(), c);
  JsonObject entries;
  for (const std::string& letter : letters)
    entries.emplace_back(letter, static_cast<int64_t>(entries.size()));
  for (const auto& [left, right] : std::vector<std::pair<std::string, std::string>>{{"Ġ", "t"},
                                                                                    {"h", "e"},
                                                                                    {"Ġt", "he"},
                                                                                    {"i", "n"},
                                                                                    {"Ġ", "Ġ"},
                                                                                    {"Ã", "©"},
                                                                                    {"l", "l"},
                                                                                    {"he", "ll"},
                                                                                    {"hell", "o"}}) {
    entries.emplace_back(left + right, static_cast<int64_t>(entries.size()));
    merges.as_array().push_back(Json(JsonArray{Json(left), Json(right)}));
  }
  JsonArray added;
  auto id = static_cast<int64_t>(entries.size());
  for (const char* text : {"<bos>", "<eos>", "<think>", "<x>"}) {
    const std::string_view view = text;
    Json token;
    token.set("id", id++);
    token.set("content", text);
    token.set("normalized", view == "<x>");
    token.set("special", view == "<bos>" || view == "<eos>");
    added.push_back(std::move(token));
  }
  Json json = parse_json(R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Digits", "individual_digits": true},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
    "post_processor": null, "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false}})");
  json.set("added_tokens", std::move(added));
  json.find("model")->set("vocab", std::move(entries));
  json.find("model")->set("merges", std::move(merges));
  return json;
}

}  // namespace minke

#include <algorithm>
#include <functional>

#include <gtest/gtest.h>

#include "formats/test_files.h"
#include "text/small_tokenizer.h"
#include "text/tokenizer.h"

namespace minke {
namespace {

Tokenizer load(const Json& json, const Json& config = nullptr) {
  return Tokenizer::from_json(to_string(json), "sample/tokenizer.json",
                              config.is_null() ? "" : to_string(config));
}

Tokenizer load_with(const std::function<void(Json&)>& change) {
  Json json = small_tokenizer();
  change(json);
  return load(json);
}

Json& model(Json& json) { return *json.find("model"); }
Json& vocab(Json& json) { return *model(json).find("vocab"); }
Json& added(Json& json, size_t i) { return json.find("added_tokens")->as_array()[i]; }

std::string shown(const Tokenizer& tokenizer, std::string_view text, Added kind = Added::all) {
  std::string result;
  for (const Token token : tokenizer.encode(text, kind))
    result.append(result.empty() ? "" : "|").append(tokenizer.bytes(token));
  return result;
}

void refused(const std::function<void(Json&)>& change, std::initializer_list<std::string_view> parts) {
  const std::string what = error_of([&] { load_with(change); });
  expect_says(what, "sample/tokenizer.json: ");
  for (const std::string_view part : parts) expect_says(what, part);
}

TEST(TokenizerJson, RefusesIdsThatDoNotAddUp) {
  refused([](Json& j) { vocab(j).set("a", -1); }, {"model: vocab", "'a' is token -1"});
  refused([](Json& j) { vocab(j).set("a", 5'000'000'000); }, {"'a' is token 5000000000", "269 tokens"});
  refused([](Json& j) { vocab(j).set("a", 3); }, {"are both token 3"});
  refused([](Json& j) { vocab(j).set("a", 1.5); }, {"model: vocab: a", "found number"});
  refused([](Json& j) { vocab(j).set("more", 270); }, {"'more' is token 270"});
  refused([](Json& j) { added(j, 0).set("id", -2); }, {"added_tokens: 0: id", "-2 is no token id"});
  refused([](Json& j) { added(j, 0).set("id", int64_t{1} << 40); }, {"added_tokens: 0: id"});
  refused([](Json& j) { added(j, 1).set("id", added(j, 0).at("id").as_int()); },
          {"'<bos>' and '<eos>' are both token 265"});
  refused([](Json& j) { added(j, 0).set("id", 400); }, {"added_tokens: '<bos>'", "token 400"});
  refused([](Json& j) { added(j, 0).set("id", 3); }, {"it is token 3, and so is '"});
  refused([](Json& j) { added(j, 0).set("content", "hello"); },
          {"added token 265 is 'hello', and so is token 264"});
  refused([](Json& j) { added(j, 1).set("content", "<bos>"); },
          {"token 266 is '<bos>', and so is token 265"});
  refused([](Json& j) { added(j, 0).set("content", ""); }, {"added token 265", "0 bytes"});
  refused([](Json& j) { added(j, 0).set("content", std::string(5000, 'x')); }, {"5000 bytes"});
  refused(
      [](Json& j) {
        added(j, 0).set("content", "é");
        added(j, 0).set("id", vocab(j).at("é").as_int());
      },
      {"'é'", "stands for other bytes"});
}

TEST(TokenizerJson, RefusesMergesThatAreNone) {
  const auto merge = [](Json entry) {
    return [entry](Json& j) { model(j).find("merges")->as_array().push_back(entry); };
  };
  refused(merge("a"), {"model: merges", "merge 9"});
  refused(merge("a b c"), {"merge 9"});
  refused(merge(" b"), {"merge 9"});
  refused(merge("a "), {"merge 9"});
  refused(merge(7), {"merge 9 is 7"});
  refused(merge(JsonArray{Json("a"), Json("b"), Json("c")}), {"merge 9"});
  refused(merge(JsonArray{Json("a"), Json(1)}), {"merge 9"});
  refused(merge("a b"), {"merge 9 ('a' and 'b') needs the piece 'ab'"});
  refused(merge("a 中"), {"needs the piece '中'"});
}

TEST(TokenizerJson, NamesWhatItDoesNotSupport) {
  const auto set = [](const char* part, const char* text) {
    return [=](Json& j) { j.set(part, parse_json(text)); };
  };
  refused(set("normalizer", R"({"type":"Precompiled"})"), {"normalizer: type: 'Precompiled'"});
  refused(set("normalizer", R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Strip"}]})"),
          {"normalizer: normalizers: 1: type: 'Strip'"});
  refused(set("normalizer", R"({"type":"NFC","new":1})"), {"normalizer: unknown field 'new'"});
  refused(set("normalizer", R"({"type":"Replace","pattern":{"Regex":"("},"content":""})"),
          {"regular expression '('"});
  refused(set("normalizer", R"({"type":"Replace","pattern":{},"content":""})"),
          {"normalizer: pattern", "'String'"});
  refused(set("pre_tokenizer", "null"), {"pre_tokenizer", "byte-level"});
  refused(set("pre_tokenizer", R"({"type":"Metaspace"})"), {"pre_tokenizer: type: 'Metaspace'"});
  refused(set("pre_tokenizer", R"({"type":"Digits"})"), {"no ByteLevel"});
  refused(
      set("pre_tokenizer", R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})"),
      {"pre_tokenizer: pretokenizers: 1", "'Digits' after ByteLevel"});
  refused(set("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"a"},"behavior":"Odd"})"),
          {"behavior: 'Odd'"});
  refused(set("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"\\1"},"behavior":"Isolated"})"),
          {"no ByteLevel"});
  refused(set("decoder", R"({"type":"WordPiece"})"), {"decoder: type: 'WordPiece'"});
  refused(set("post_processor", R"({"type":"BertProcessing"})"), {"post_processor: type: 'BertProcessing'"});
  refused([](Json& j) { model(j).set("type", "Unigram"); }, {"model: type", "Unigram"});
  refused([](Json& j) { model(j).set("dropout", 0.1); }, {"model: dropout: 0.1"});
  refused([](Json& j) { model(j).set("byte_fallback", true); }, {"model: byte_fallback: true"});
  refused([](Json& j) { model(j).set("end_of_word_suffix", "</w>"); }, {"end_of_word_suffix"});
  refused([](Json& j) { model(j).set("continuing_subword_prefix", "##"); }, {"continuing_subword_prefix"});
  refused([](Json& j) { model(j).set("unk_token", "<none>"); }, {"model: unk_token: '<none>'"});
  refused([](Json& j) { model(j).set("surprise", 1); }, {"model: unknown field 'surprise'"});
  refused([](Json& j) { j = JsonObject{}; }, {"'model'"});
  refused([](Json& j) { j = JsonArray{}; }, {"expected object"});
}

TEST(TokenizerJson, ReadsOldAndNewForms) {
  const auto old = [](Json& j) {
    JsonArray merges{Json("#version: 0.2")};
    for (const Json& merge : model(j).at("merges").as_array())
      merges.emplace_back(merge.as_array()[0].as_string() + " " + merge.as_array()[1].as_string());
    model(j).set("merges", std::move(merges));
    j.set("normalizer", parse_json(R"({"type":"Sequence","normalizers":[]})"));
  };
  EXPECT_EQ(shown(load_with(old), "hello the in"), "hello| the| |in");
  EXPECT_EQ(load_with(old).pre_name(), "smollm");
  EXPECT_EQ(load(small_tokenizer()).pre_name(), "smollm");
}

TEST(TokenizerJson, HonoursUnk) {
  const auto without_x = [](Json& j) {
    // Its letter gone, the last of the vocabulary takes its id.
    JsonObject& entries = vocab(j).as_object();
    const auto x =
        std::find_if(entries.begin(), entries.end(), [](const JsonMember& m) { return m.first == "x"; });
    for (size_t i = 0; i < 4; ++i) added(j, i).set("id", static_cast<int64_t>(264 + i));
    const int64_t gone = x->second.as_int();
    entries.erase(x);
    for (auto& [text, id] : entries)
      if (id.as_int() > gone) id = id.as_int() - 1;
  };
  EXPECT_EQ(shown(load_with(without_x), "axxb"), "a|b");
  const auto with_unk = [&](bool fuse) {
    return [=](Json& j) {
      without_x(j);
      model(j).set("unk_token", "?");
      model(j).set("fuse_unk", fuse);
    };
  };
  EXPECT_EQ(shown(load_with(with_unk(false)), "axxb"), "a|?|?|b");
  EXPECT_EQ(shown(load_with(with_unk(true)), "axxb"), "a|?|b");
}

TEST(TokenizerJson, TakesBosAndEosFromTheConfig) {
  const auto config = [](const char* text) { return load(small_tokenizer(), parse_json(text)); };
  const Tokenizer plain =
      config(R"({"bos_token": "<bos>", "eos_token": {"content": "<eos>", "lstrip": false}})");
  EXPECT_EQ(plain.bos(), plain.find("<bos>"));
  EXPECT_EQ(plain.eos(), plain.find("<eos>"));
  EXPECT_EQ(plain.end_tokens(), std::vector<Token>{*plain.eos()});
  EXPECT_FALSE(plain.add_bos());
  EXPECT_TRUE(config(R"({"bos_token": "<bos>", "add_bos_token": true})").add_bos());
  EXPECT_TRUE(config(R"({"bos_token": "<bos>", "tokenizer_class": "LlamaTokenizerFast"})").add_bos());
  EXPECT_FALSE(config(R"({"bos_token": null, "add_bos_token": true})").add_bos());
  EXPECT_FALSE(load(small_tokenizer()).bos());
  expect_says(error_of([&] { config(R"({"eos_token": "<none>"})"); }),
              "tokenizer_config: eos_token: '<none>'");
  expect_says(error_of([&] { config(R"({"add_bos_token": 1})"); }), "tokenizer_config: add_bos_token");
  expect_says(error_of([&] { config(R"({"chat_template": 1})"); }), "tokenizer_config: chat_template");
  expect_says(error_of([&] { config("[]"); }), "tokenizer_config: expected object");
}

TEST(TokenizerJson, TakesBosFromThePostProcessor) {
  const auto with_template = [](Json& j) {
    j.set("post_processor",
          parse_json(
              R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
      "special_tokens": {}}]})"));
  };
  const Tokenizer tokenizer = load_with(with_template);
  EXPECT_TRUE(tokenizer.add_bos());
  EXPECT_EQ(tokenizer.bos(), tokenizer.find("<bos>"));
  Json json = small_tokenizer();
  with_template(json);
  EXPECT_FALSE(load(json, parse_json(R"({"add_bos_token": false})")).add_bos());
}

TEST(TokenizerJson, KnowsWhereAnswersEndAndGapsLie) {
  const Tokenizer tokenizer = load_with([](Json& j) {
    const auto rename = [&](size_t i, const char* text, bool special) {
      added(j, i).set("content", text);
      added(j, i).set("special", special);
    };
    rename(0, "<|im_end|>", true);
    rename(1, "<|fim_prefix|>", true);
    rename(2, "<|fim_suffix|>", false);
    rename(3, "<|fim_middle|>", false);
  });
  EXPECT_EQ(tokenizer.end_tokens(), std::vector<Token>{265});
  EXPECT_EQ(tokenizer.fim(), (FimTokens{266, 267, 268}));
  // One that may be spoken ends nothing.
  const auto spoken = load_with([](Json& j) { added(j, 2).set("content", "<|im_end|>"); });
  EXPECT_TRUE(spoken.end_tokens().empty());
  EXPECT_FALSE(spoken.fim());
}

TEST(TokenizerJson, PrefersTemplatesInFilesOfTheirOwn) {
  const TemporaryFolder folder;
  const fs::path file = folder / "tokenizer.json";
  write_text(file, to_string(small_tokenizer()));
  EXPECT_EQ(Tokenizer::from_file(file).chat_template(), "");
  write_text(
      folder / "tokenizer_config.json",
      R"({"eos_token": "<eos>", "chat_template": [{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}]})");
  Tokenizer tokenizer = Tokenizer::from_file(file);
  EXPECT_EQ(tokenizer.chat_template(), "A");
  EXPECT_EQ(tokenizer.chat_template("tool_use"), "B");
  EXPECT_EQ(tokenizer.chat_template("other"), "");
  EXPECT_EQ(tokenizer.eos(), tokenizer.find("<eos>"));
  write_text(folder / "chat_template.json", R"({"chat_template": "C"})");
  EXPECT_EQ(Tokenizer::from_file(file).chat_template(), "C");
  write_text(folder / "chat_template.jinja", "D");
  fs::create_directories(folder / "additional_chat_templates");
  write_text(folder / "additional_chat_templates/tool_use.jinja", "E");
  tokenizer = Tokenizer::from_file(file);
  EXPECT_EQ(tokenizer.chat_template(), "D");
  EXPECT_EQ(tokenizer.chat_template("tool_use"), "E");

  write_text(folder / "tokenizer_config.json", R"({"eos_token": "<none>"})");
  expect_says(error_of([&] { Tokenizer::from_file(file); }), (folder / "tokenizer_config.json").string());
  write_text(folder / "tokenizer_config.json", "{}");
  write_text(folder / "chat_template.json", "{");
  expect_says(error_of([&] { Tokenizer::from_file(file); }), (folder / "chat_template.json").string());
  expect_says(error_of([&] { Tokenizer::from_file(folder / "none.json"); }), "none.json");
}

TEST(TokenizerJson, IsOpenedByItsNameOrFoundInAFolder) {
  const TemporaryFolder folder;
  expect_says(error_of([&] { Tokenizer::open(folder.path()); }), "no tokenizer.json in this folder");
  const std::string text = to_string(small_tokenizer());
  write_text(folder / "tokenizer.json.gz", text);  // compressed or not is seen by its bytes
  const int size = Tokenizer::open(folder.path()).size();
  EXPECT_EQ(Tokenizer::open(folder / "tokenizer.json.gz").size(), size);
  write_text(folder / "other.json", text);
  EXPECT_EQ(Tokenizer::open(folder / "other.json").size(), size);
  expect_says(error_of([&] { Tokenizer::open(folder / "none"); }), "none");
}

// Whatever still loads must encode.
void use(Bytes bytes) {
  const Tokenizer tokenizer = Tokenizer::from_json(as_text(bytes), "sample");
  const auto tokens = tokenizer.encode("<bos>hello the é 12\n<think>");
  EXPECT_NO_THROW(tokenizer.decode(tokens));
}

TEST(TokenizerJson, SurvivesBeingCutAnywhere) {
  Json json = small_tokenizer();
  json.set("padding", std::string(40'000, ' '));
  const std::string file = to_string(json, 1);
  cut_everywhere(file, 97, use);
}

TEST(TokenizerJson, SurvivesTurnedBits) {
  const std::string file = to_string(small_tokenizer());
  const int refused = turn_bits(file, file.size(), 10000, use);
  EXPECT_GT(refused, 5000);
  EXPECT_LT(refused, 10000);
}

}  // namespace
}  // namespace minke

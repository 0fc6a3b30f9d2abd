#include "api/embeddings.h"

#include "api/test_dialect.h"

namespace minke {
namespace {

EmbeddingExchange read(const std::string& body) {
  return read_embeddings(parse_json(body), ScriptedCompleter().card());
}

TEST(Embeddings, InputsAreTextsOrTokensOrListsOfThem) {
  EXPECT_EQ(read(R"({"input":"a"})").request.inputs, (std::vector<PlainPrompt>{{"a", {}, {}}}));
  EXPECT_EQ(read(R"({"input":[1,2]})").request.inputs, (std::vector<PlainPrompt>{{"", {1, 2}, {}}}));
  EXPECT_EQ(read(R"({"input":["a",[3]]})").request.inputs,
            (std::vector<PlainPrompt>{{"a", {}, {}}, {"", {3}, {}}}));
}

TEST(Embeddings, RefusesWhatCannotBe) {
  for (const auto& [body, field] : std::vector<std::pair<std::string, std::string>>{
           {R"({})", "input"},
           {R"({"input":[]})", "input"},
           {R"({"input":""})", "input[0]"},
           {R"({"input":["a",""]})", "input[1]"},
           {R"({"input":["a",{}]})", "input[1]"},
           {R"({"input":[1,-2]})", "input[1]"},
           {R"({"input":"a","dimensions":3})", "dimensions"},
           {R"({"input":"a","encoding_format":"hex"})", "encoding_format"},
           {R"({"input":"a","truncate_prompt_tokens":3})", "truncate_prompt_tokens"},
           {R"({"input":"a","colour":3})", "colour"}})
    EXPECT_EQ(subject_of([&] { read(body); }), field) << body;
  EXPECT_EQ(subject_of([] { read(R"({"input":"a","dimensions":2,"model":"m","user":"u"})"); }), "nothing");
}

TEST(Embeddings, AreNumbersOrTheirBytes) {
  const ModelCard card = ScriptedCompleter().card();
  EmbeddingExchange exchange = read(R"({"input":"a"})");
  const Embeddings made{{{1.0f, -0.5f}}, 3, false, {}};
  Json json = embeddings_json(exchange, made, card);
  EXPECT_EQ(to_string(json.at("data")), R"([{"object":"embedding","index":0,"embedding":[1.0,-0.5]}])");
  EXPECT_EQ(to_string(json.at("usage")), R"({"prompt_tokens":3,"total_tokens":3})");
  exchange.base64 = true;
  json = embeddings_json(exchange, made, card);
  EXPECT_EQ(json.at("data").as_array()[0].at("embedding"), Json("AACAPwAAAL8="));
}

}  // namespace
}  // namespace minke

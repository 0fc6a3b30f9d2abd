#include "base/toml.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

TEST(Toml, SaysWhatJsonSays) {
  const Json json = parse_toml(
      "output = \"run\"\nrate = 1e-3\nsteps = 20\nresume = false\n[model]\nfrom = 'base'\n"
      "[[stages]]\nname = \"a\"\n[[stages]]\nname = \"b\"\nlora = {rank = 8, targets = [\"q_proj\"]}\n",
      "file");
  EXPECT_EQ(json, parse_json(R"({"model": {"from": "base"}, "output": "run", "rate": 0.001, "resume": false,
      "stages": [{"name": "a"}, {"lora": {"rank": 8, "targets": ["q_proj"]}, "name": "b"}], "steps": 20})"));
}

TEST(Toml, NamesFileAndLine) {
  const auto error = [](const char* text) {
    try {
      parse_toml(text, "run.toml");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(error("a = 1\nb = \n").find("run.toml:2"), std::string::npos);
  EXPECT_NE(error("a = 1\na = 2\n").find("run.toml:2"), std::string::npos);
  EXPECT_NE(error("a = 1\n\nb = 2020-01-01\n").find("run.toml:3"), std::string::npos);
  EXPECT_NE(error("b = 1979-05-27T\x0f").find("run.toml"), std::string::npos);  // no digit
  EXPECT_NE(error("b = 1979-0507;\xc3\x93").find("run.toml"), std::string::npos);
  EXPECT_NE(error("a = 1\nb = [1.0, inf]\n").find("run.toml:2"), std::string::npos);
}

TEST(Toml, IsBoundedInDepth) {
  const auto keys = [](int n, std::string_view part = "a") {
    std::string key(part);
    for (int i = 1; i < n; ++i) key += "." + std::string(part);
    return key;
  };
  EXPECT_NO_THROW(parse_json(to_string(parse_toml(keys(64) + " = 1\n", "f"))));
  EXPECT_NO_THROW(parse_json(to_string(parse_toml("[" + keys(63) + "]\n", "f"))));
  for (const int n : {65, 1000, 1000000}) {  // a million tables would end the program where they end
    EXPECT_THROW(parse_toml(keys(n) + " = 1\n", "f"), Error) << n;
    EXPECT_THROW(parse_toml("[" + keys(n) + "]\nb = 1\n", "f"), Error) << n;
    EXPECT_THROW(parse_toml("b = {" + keys(n, "\"x=,\\\"\"") + " = 1}\n", "f"), Error) << n;
    EXPECT_THROW(parse_toml("b = " + std::string(static_cast<size_t>(n), '['), "f"), Error) << n;
  }
  const std::string deep = keys(1000000) + " = 1";
  for (const char* before :
       {"# \"\\\n", "b = {x = \"\"\"\n\"\"\", ", "b = {x = \'\'\'\n\'\'\', ", "b = 'x'\r\n"})
    EXPECT_THROW(parse_toml(before + deep, "f"), Error) << before;
  std::string tables = "1";  // as deep as keys and tables go together
  for (int i = 0; i < 30; ++i) tables = fmt::format("{{{} = [\n{}]}}", keys(125), tables);
  EXPECT_THROW(parse_toml("b = " + tables, "f"), Error);
  const std::string prose(128, '.');
  EXPECT_EQ(parse_toml("a = \"" + prose + "\"\n", "f"), parse_json("{\"a\": \"" + prose + "\"}"));
}

}  // namespace
}  // namespace minke

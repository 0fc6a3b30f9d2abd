#include "base/toml.h"

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

}  // namespace
}  // namespace minke

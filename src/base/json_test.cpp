#include "base/json.h"

#include <cstdlib>

#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

std::string error_of(std::string_view text, const JsonLimits& limits = {}) {
  try {
    parse_json(text, limits);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Json, ParsesEveryKindOfValue) {
  const Json json = parse_json(
      R"({"n":null,"b":true,"i":-3,"u":18446744073709551615,"d":2.5,"s":"\u00e9\ud83d\ude00","a":[1,[]]})");
  EXPECT_TRUE(json.at("n").is_null());
  EXPECT_TRUE(json.at("b").as_bool());
  EXPECT_EQ(json.at("i").as_int(), -3);
  EXPECT_EQ(std::get<uint64_t>(json.at("u").value()), UINT64_MAX);
  EXPECT_EQ(json.at("d").as_double(), 2.5);
  EXPECT_EQ(json.at("s").as_string(), "é😀");
  EXPECT_EQ(json.at("a").as_array().size(), 2u);
}

TEST(Json, KeepsTheOrderOfKeys) {
  EXPECT_EQ(to_string(parse_json(R"({"z":1,"a":{"y":2,"b":3}})")), R"({"z":1,"a":{"y":2,"b":3}})");
}

TEST(Json, RefusesWhatIsNotOneWholeValue) {
  for (const char* text :
       {"", "{", "[1,]", "{\"a\" 1}", "1 2", "nul", "\"\xff\"", "NaN", "[1] x", "\"\\ud800\""})
    EXPECT_NE(error_of(text), "") << text;
}

TEST(Json, NamesARepeatedKey) {
  EXPECT_NE(error_of(R"({"a":1,"b":2,"a":3})").find("'a' is repeated"), std::string::npos);
  JsonLimits lenient;
  lenient.reject_repeated_keys = false;
  EXPECT_EQ(to_string(parse_json(R"({"a":1,"b":2,"a":3})", lenient)), R"({"b":2,"a":3})");
}

TEST(Json, BoundsDepthAndSize) {
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  EXPECT_NE(error_of(deep), "");
  JsonLimits limits;
  limits.max_depth = 100;
  EXPECT_EQ(error_of(deep, limits), "");
  limits.max_bytes = 3;
  EXPECT_NE(error_of("[1,2]", limits), "");
}

TEST(Json, ErrorsNameTheTypeThatWasFound) {
  try {
    parse_json("[1]").at("x");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "expected object, found array");
  }
}

TEST(Json, WritesDoublesSoThatTheyComeBack) {
  for (const double d : {0.1, 1e300, -0.0, 3.0, 5e-324}) {
    const Json json = parse_json(to_string(Json(d)));
    EXPECT_EQ(json.as_double(), d);
    EXPECT_FALSE(json.is_int());
  }
}

TEST(Json, NumbersAreExactOrRefused) {
  for (const char* text : {"0.30000000000000004", "123456789012345678901234567890", "7.2057594037927933e16",
                           "2.2250738585072014e-308", "-1.7976931348623157E+308"})
    EXPECT_EQ(parse_json(text).as_double(), std::strtod(text, nullptr)) << text;
  EXPECT_EQ(parse_json("[1e-400, 2.5]").as_array()[1].as_double(), 2.5);
  EXPECT_EQ(parse_json("[12, 1.5, 18446744073709551615, -3]").as_array()[1].as_double(), 1.5);
  for (const char* text : {"-2.5e331", "[1e309]", "{\"a\": 1e99999}"})
    EXPECT_THROW(parse_json(text), Error) << text;
}

}  // namespace
}  // namespace minke

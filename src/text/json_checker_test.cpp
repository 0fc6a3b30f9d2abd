#include "text/json_checker.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "base/json.h"
#include "text/utf8.h"

namespace minke {
namespace {

// Bytes taken until one is refused.
size_t taken(std::string_view text, JsonChecker& checker) {
  size_t n = 0;
  while (n < text.size() && checker.step(text[n])) ++n;
  return n;
}

bool checks(std::string_view text, bool object_only = false) {
  JsonChecker checker(object_only);
  return taken(text, checker) == text.size() && checker.complete();
}

bool parses(std::string_view text) {
  try {
    parse_json(text, {.max_depth = JsonChecker::kMaxDepth, .reject_repeated_keys = false});
    return true;
  } catch (const Error&) {
    return false;
  }
}

Json any_json(int depth) {
  const int kind = *rc::gen::inRange(0, depth > 0 ? 8 : 6);
  switch (kind) {
    case 0: return Json();
    case 1: return Json(*rc::gen::arbitrary<bool>());
    case 2: return Json(*rc::gen::arbitrary<int64_t>());
    case 3: return Json(*rc::gen::arbitrary<double>());
    case 4: return Json(*rc::gen::container<std::string>(rc::gen::inRange<char>(0, 127)));
    case 5: return Json("ü \"\\/ 👋 \x7f");
    case 6: {
      JsonArray items;
      for (int i = *rc::gen::inRange(0, 4); i > 0; --i) items.push_back(any_json(depth - 1));
      return items;
    }
    default: {
      JsonObject members;
      for (int i = *rc::gen::inRange(0, 4); i > 0; --i)
        members.emplace_back(fmt::format("{}{}", "\"k\n", i), any_json(depth - 1));
      return members;
    }
  }
}

// JSON in any of its spellings, perhaps damaged.
std::string any_text(bool damaged) {
  std::string text = to_string(any_json(4), *rc::gen::element(-1, 0, 2));
  if (!damaged) return text;
  static constexpr std::string_view kAlphabet = "{}[]\",:\\/ \n0123456789eE+-.truefalsn\x01\xc3u dD8cC";
  for (int i = *rc::gen::inRange(0, 4); i >= 0; --i) {
    const auto at = *rc::gen::inRange<size_t>(0, text.size() + 1);
    const char c = kAlphabet[*rc::gen::inRange<size_t>(0, kAlphabet.size())];
    if (*rc::gen::arbitrary<bool>() || at == text.size())
      text.insert(at, 1, c);
    else
      text[at] = c;
  }
  return text;
}

TEST(JsonChecker, TakesWhatIsJson) {
  for (const char* text :
       {"{}", "[]", " { \"a\" : [ 1 , -0.5e+10 , true , false , null , \"x\\u00e9\\ud83d\\udc4b\\n\" ] } ",
        "0", "-0", "1e307", "1E-400", "\"\"", "[[],{}]", "{\"a\":{\"a\":{}}}", "12345678901234567890123"}) {
    EXPECT_TRUE(checks(text)) << text;
    EXPECT_TRUE(parses(text)) << text;
  }
}

TEST(JsonChecker, RefusesWhatIsNot) {
  for (const char* text : {"",
                           "{",
                           "{]",
                           "[}",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "[1,]",
                           "[,]",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "-",
                           "1e",
                           "1e+",
                           "tru",
                           "True",
                           "nul",
                           "'a'",
                           "\"\n\"",
                           "\"\\x\"",
                           "\"\\u12g4\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "{a:1}",
                           "1 2",
                           "{} {}",
                           "1e309",
                           "1e99999999999999999999",
                           "NaN",
                           "Infinity",
                           "\"a",
                           "[1",
                           "/**/1",
                           "\"\\ud800x\""})
    EXPECT_FALSE(checks(text)) << text;
}

TEST(JsonChecker, BoundsTheDepth) {
  const auto nested = [](size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_TRUE(checks(nested(64)));
  EXPECT_TRUE(parses(nested(64)));
  EXPECT_FALSE(checks(nested(65)));
  EXPECT_FALSE(checks(nested(100'000)));
}

TEST(JsonChecker, AnObjectOnlyWhereAskedFor) {
  EXPECT_TRUE(checks(" {\"a\": [1]}", true));
  for (const char* text : {"[]", "1", "\"\"", "null"}) EXPECT_FALSE(checks(text, true)) << text;
}

TEST(JsonChecker, AgreesWithTheParser) {
  EXPECT_TRUE(rc::check("what is JSON is taken", [] {
    const std::string text = any_text(false);
    RC_PRE(text.find("e+308") == std::string::npos);
    RC_LOG() << text;
    RC_ASSERT(checks(text));
  }));
  EXPECT_TRUE(rc::check("damaged JSON is taken as the parser takes it", [] {
    const std::string text = any_text(true);
    RC_LOG() << text;
    if (checks(text)) RC_ASSERT(parses(text) || find_invalid_utf8(text) != std::string::npos);
    if (!checks(text)) RC_ASSERT(!parses(text) || text.find_first_of("eE") != std::string::npos);
  }));
}

TEST(JsonChecker, CompletesWhatIsBegun) {
  EXPECT_TRUE(rc::check([] {
    const std::string text = any_text(*rc::gen::arbitrary<bool>());
    JsonChecker checker;
    const size_t n = std::min(taken(text, checker), *rc::gen::inRange<size_t>(0, text.size() + 1));
    JsonChecker again;
    RC_ASSERT(taken(text.substr(0, n), again) == n);
    const std::string whole = text.substr(0, n) + again.completion();
    RC_ASSERT(checks(whole));
    RC_ASSERT(again.complete() == again.completion().empty());
    RC_ASSERT(again.least() == static_cast<int>(again.completion().size()));
  }));
  for (const char* begun :
       {"\"\\ud", "\"\\ud8", "\"\\uD8ab", "\"\\ud800\\", "\"\\ud800\\udd", "[{\"a", "-", "[1."}) {
    JsonChecker checker;
    ASSERT_EQ(taken(begun, checker), std::string_view(begun).size()) << begun;
    EXPECT_TRUE(checks(begun + checker.completion())) << begun + checker.completion();
  }
}

}  // namespace
}  // namespace minke

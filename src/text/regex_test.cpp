#include "text/regex.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "formats/test_files.h"
#include "text/utf8.h"

namespace minke {
namespace {

using Matches = std::vector<std::string>;

Matches matches_of(const Regex& regex, std::string_view text, bool careful = false) {
  RegexScratch scratch;
  RegexSearch search(regex, text, scratch);
  if (careful) search.be_careful();
  Matches matches;
  while (search.next()) matches.emplace_back(search.match());
  return matches;
}

const UnicodeSets& unicode() {
  static const UnicodeSets sets;
  return sets;
}

Matches matches_of(std::string_view pattern, std::string_view text) {
  const Regex regex(pattern, unicode());
  const Matches matches = matches_of(regex, text);
  EXPECT_EQ(matches_of(regex, text, true), matches) << "remembering failures, " << pattern;
  return matches;
}

TEST(Regex, MatchesCharactersAndClasses) {
  EXPECT_EQ(matches_of("a.c", "abc a\nc axc"), (Matches{"abc", "axc"}));
  EXPECT_EQ(matches_of(R"([a-c\d]+)", "ab1z2"), (Matches{"ab1", "2"}));
  EXPECT_EQ(matches_of(R"([^\s]+)", "a\u3000b\x0b c"), (Matches{"a", "b", "c"}));
  EXPECT_EQ(matches_of(R"(\p{L}+)", "aé中1ß"), (Matches{"aé中", "ß"}));
  EXPECT_EQ(matches_of(R"(\p{^L}+)", "a12b"), (Matches{"12"}));
  EXPECT_EQ(matches_of(R"(\P{Lu}+)", "aBc"), (Matches{"a", "c"}));
  EXPECT_EQ(matches_of(R"([\p{L}&&[^a-m]]+)", "amnz中"), (Matches{"nz中"}));
  EXPECT_EQ(matches_of(R"([a[xy]-]+)", "ax-b"), (Matches{"ax-"}));
  EXPECT_EQ(matches_of(R"([]a]+)", "a]b"), (Matches{"a]"}));
  EXPECT_EQ(matches_of(R"(\x41\u00e9\x{1F600}\.)", "Aé😀."), (Matches{"Aé😀."}));
  EXPECT_EQ(matches_of(R"(\p{Han}+|\h{2})", "中文ok1F"), (Matches{"中文", "1F"}));
}

TEST(Regex, IgnoresCaseWhereTold) {
  EXPECT_EQ(matches_of("(?i:'s|'RE)x", "'Sx 'rex 'ſx 'SX"), (Matches{"'Sx", "'rex", "'ſx"}));
  EXPECT_EQ(matches_of("(?:a(?i)b)c", "aBc aBC AbC abc"), (Matches{"aBc", "abc"}));
  EXPECT_EQ(matches_of("(?i)[a-c]+", "xAbCx"), (Matches{"AbC"}));
}

TEST(Regex, RepeatsGreedilyLazilyAndPossessively) {
  EXPECT_EQ(matches_of("a{2,3}", "aaaaa"), (Matches{"aaa", "aa"}));
  EXPECT_EQ(matches_of("a{2}|a{,1}b", "aaab"), (Matches{"aa", "ab"}));
  EXPECT_EQ(matches_of("<.+?>", "<a><b>"), (Matches{"<a>", "<b>"}));
  EXPECT_EQ(matches_of("(?:ab)*?c", "ababc"), (Matches{"ababc"}));
  EXPECT_EQ(matches_of("a++a|b", "aaab"), (Matches{"b"}));
  EXPECT_EQ(matches_of("(?>a+)a|b", "aaab"), (Matches{"b"}));
  EXPECT_EQ(matches_of("a{1", "a{1"), (Matches{"a{1"}));
  EXPECT_EQ(matches_of("(?:a|ab)(?:c|bcd)", "abcd"), (Matches{"abcd"}));
}

TEST(Regex, PrefersTheLeftmostThenTheFirstAlternative) {
  EXPECT_EQ(matches_of("b|ab|a", "ab"), (Matches{"ab"}));
  EXPECT_EQ(matches_of("a|ab", "ab"), (Matches{"a"}));
  EXPECT_EQ(matches_of("x*", "axxb"), (Matches{"", "xx", ""}));
}

TEST(Regex, LooksAround) {
  EXPECT_EQ(matches_of(R"(\s+(?!\S)|\s+)", "a   b  "), (Matches{"  ", " ", "  "}));
  EXPECT_EQ(matches_of(R"(\w+(?=[!?])|(?<=[$])\d+|(?<!\d)x)", "hey! $12 3x x"), (Matches{"hey", "12", "x"}));
  EXPECT_EQ(matches_of(R"(^a|b$|\Ac|d\z)", "a\nab\nb c d"), (Matches{"a", "a", "b", "d"}));
  EXPECT_EQ(matches_of(R"(\b\w|\w\B)", "ab c"), (Matches{"a", "c"}));
}

TEST(Regex, RefusesMistakesAndWhatItDoesNotKnow) {
  const auto refused = [](std::string_view pattern, std::string_view part) {
    const std::string what = error_of([&] { Regex(pattern, unicode()); });
    expect_says(what, "regular expression '");
    expect_says(what, part);
  };
  for (const char* pattern : {"(",        ")",           "a)",     "[a",     "[",       "*a",
                              "+",        "?",           "a|*",    "\\",     "[a-",     "[z-a]",
                              "(?<n",     "(?",          "(?:",    "(?#",    "\\p{",    "\\p{Lx}",
                              "\\pL",     "\\x{110000}", "\\x4",   "\\u12",  "\\q",     "\\1",
                              "\\G",      "[[:alpha:]]", "(?s:a)", "a{3,2}", "a{9999}", "[\\d-z]x[a-\\d]",
                              "(?<=ab)c", "a*****",      "\xff"})
    refused(pattern, "");
  refused("ab(c", "offset 4");
  refused("(a*)*", "can match nothing");
  refused("(?:a?b?)+", "can match nothing");
  refused("((((((a{1000}){1000}){1000}){1000}){1000}){1000})", "too large");
  refused("((((((()){1000}){1000}){1000}){1000}){1000})", "too large");
  refused(std::string(60, '(') + std::string(60, ')'), "too deeply");
  refused(std::string(9000, 'a'), "too many");
}

TEST(Regex, BacktracksInLinearTime) {
  const std::string spaces(200'000, ' '), letters(200'000, 'a');
  EXPECT_EQ(matches_of(R"(\s+$)", spaces + "x").size(), 0u);
  EXPECT_EQ(matches_of("(?:a|a)+$", letters + "b").size(), 0u);
  EXPECT_EQ(matches_of("(?:a+)+b", letters).size(), 0u);
  EXPECT_EQ(matches_of("(?:a+a+)+b|a", letters).size(), letters.size());
  EXPECT_EQ(matches_of("(?:.*)c(?:.*)d", letters + "c").size(), 0u);
}

TEST(Regex, GivesUpWhereLookingAheadGrowsWithoutBound) {
  const Regex regex("(?:(?=.*b)a)+c", unicode());
  const std::string text = std::string(100'000, 'a') + "b";
  expect_says(error_of([&] { matches_of(regex, text); }), "too much backtracking");
}

// Patterns as a tree of random choices: well-formed, not always meaningful.
std::string random_pattern(int depth) {
  const auto pick = [](std::initializer_list<const char*> items) {
    return std::string(*rc::gen::elementOf(std::vector<const char*>(items)));
  };
  std::string pattern;
  const int items = *rc::gen::inRange(1, 4);
  for (int i = 0; i < items; ++i) {
    const int kind = *rc::gen::inRange(0, depth > 0 ? 8 : 5);
    std::string atom = kind < 5
                           ? pick({"a", "b", "é", " ", ".", "\\s", "\\p{L}", "[ab]", "[^a]", "\\d", "[é\\s]"})
                           : pick({"(", "(?:", "(?i:", "(?>"}) + random_pattern(depth - 1) + ")";
    if (kind == 7)
      atom = pick({"(?=", "(?!"}) + random_pattern(depth - 1) + ")";
    else
      atom += pick({"", "", "", "?", "*", "+", "{1,2}", "*?", "++", "{2}"});
    pattern += atom;
    if (*rc::gen::inRange(0, 6) == 0) pattern += pick({"|", "(?!\\S)", "$", "\\b"});
  }
  return pattern;
}

TEST(Regex, RemembersFailuresWithoutChangingWhatMatches) {
  rc::check([] {
    const std::string pattern = random_pattern(2);
    std::optional<Regex> regex;
    try {
      regex.emplace(pattern, unicode());
    } catch (const Error&) {
      RC_DISCARD("unlimited repeat of nothing");
    }
    std::string text;
    for (const char* part : *rc::gen::container<std::vector<const char*>>(rc::gen::elementOf(
             std::vector<const char*>{"a", "b", "A", "é", " ", "\n", "1", "É", "ab", "  "})))
      text += part;
    const Matches matches = matches_of(*regex, text);
    RC_ASSERT(matches_of(*regex, text, true) == matches);
    for (const std::string& match : matches) RC_ASSERT(find_invalid_utf8(match) == std::string::npos);
  });
}

}  // namespace
}  // namespace minke

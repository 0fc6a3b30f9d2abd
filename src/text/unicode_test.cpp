#include "text/unicode.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <utf8proc.h>

namespace minke {
namespace {

TEST(UnicodeSets, HoldTheCategoriesOfEveryCodePoint) {
  const UnicodeSets unicode;
  const CodePoints letters = *unicode.find("L"), upper = *unicode.find("Uppercase_Letter"),
                   none = *unicode.find("Cn");
  const CodePoints numbers = *unicode.find("n"), marks = *unicode.find("M"),
                   others = *unicode.find("Other Symbol");
  const CodePoints private_use = *unicode.find("private-use"), punctuation = *unicode.find("P"),
                   assigned = *unicode.find("assigned");
  for (char32_t c = 0; c <= kLastCodePoint; ++c) {
    const std::string category = utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
    ASSERT_EQ(letters.contains(c), category[0] == 'L') << uint32_t{c};
    ASSERT_EQ(upper.contains(c), category == "Lu") << uint32_t{c};
    ASSERT_EQ(none.contains(c), category == "Cn") << uint32_t{c};
    ASSERT_EQ(assigned.contains(c), category != "Cn") << uint32_t{c};
    ASSERT_EQ(numbers.contains(c), category[0] == 'N') << uint32_t{c};
    ASSERT_EQ(marks.contains(c), category[0] == 'M') << uint32_t{c};
    ASSERT_EQ(others.contains(c), category == "So") << uint32_t{c};
    ASSERT_EQ(private_use.contains(c), category == "Co") << uint32_t{c};
    ASSERT_EQ(punctuation.contains(c), category[0] == 'P') << uint32_t{c};
  }
}

TEST(UnicodeSets, KnowWhiteSpaceAndNames) {
  const UnicodeSets unicode;
  EXPECT_EQ(unicode.white_space(), (CodePoints{{9, 13},
                                               {0x20, 0x20},
                                               {0x85, 0x85},
                                               {0xA0, 0xA0},
                                               {0x1680, 0x1680},
                                               {0x2000, 0x200A},
                                               {0x2028, 0x2029},
                                               {0x202F, 0x202F},
                                               {0x205F, 0x205F},
                                               {0x3000, 0x3000}}));
  EXPECT_TRUE(unicode.find("Han")->contains(U'中'));
  EXPECT_TRUE(unicode.find("hiragana")->contains(U'ぁ'));
  EXPECT_TRUE(unicode.word().contains(U'_'));
  EXPECT_FALSE(unicode.word().contains(U'-'));
  EXPECT_FALSE(unicode.find("Klingon"));
  EXPECT_FALSE(unicode.find(""));
}

TEST(UnicodeSets, IgnoreCase) {
  const UnicodeSets unicode;
  EXPECT_EQ(unicode.ignoring_case({{'s', 's'}}), (CodePoints{{'S', 'S'}, {'s', 's'}, {0x17F, 0x17F}}));
  EXPECT_EQ(unicode.ignoring_case({{0x3C3, 0x3C3}}), (CodePoints{{0x3A3, 0x3A3}, {0x3C2, 0x3C3}}));
  EXPECT_EQ(unicode.ignoring_case({{0xDF, 0xDF}}), (CodePoints{{0xDF, 0xDF}, {0x1E9E, 0x1E9E}}));
  EXPECT_EQ(unicode.ignoring_case({{'1', '1'}, {U'中', U'中'}}), (CodePoints{{'1', '1'}, {U'中', U'中'}}));
}

TEST(CodePoints, FollowTheLawsOfSets) {
  const auto gen = rc::gen::map(rc::gen::container<std::vector<std::pair<uint8_t, uint8_t>>>(
                                    rc::gen::arbitrary<std::pair<uint8_t, uint8_t>>()),
                                [](const auto& pairs) {
                                  std::vector<CodeRange> ranges;
                                  for (const auto& [first, length] : pairs)
                                    ranges.push_back({first, char32_t{first} + length % 9});
                                  return ranges;
                                });
  rc::check([&] {
    const auto left = *gen, right = *gen;
    const CodePoints a(left), b(right);
    const auto in = [](const std::vector<CodeRange>& ranges, char32_t c) {
      return std::any_of(ranges.begin(), ranges.end(),
                         [c](CodeRange r) { return r.first <= c && c <= r.last; });
    };
    for (char32_t c = 0; c < 300; ++c) {
      RC_ASSERT(a.contains(c) == in(left, c));
      RC_ASSERT((a | b).contains(c) == (in(left, c) || in(right, c)));
      RC_ASSERT((a & b).contains(c) == (in(left, c) && in(right, c)));
      RC_ASSERT((~a).contains(c) == !in(left, c));
    }
    RC_ASSERT(~~a == a);
    RC_ASSERT((a | b) == (b | a));
  });
}

}  // namespace
}  // namespace minke

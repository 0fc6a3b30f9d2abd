#include "text/utf8.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace minke {
namespace {

using Kind = Utf8Unit::Kind;

TEST(Utf8, TellsCharactersFromWhatIsNone) {
  const auto unit = [](std::string_view text) {
    const Utf8Unit u = first_utf8(text);
    return std::pair(u.kind, int{u.length});
  };
  EXPECT_EQ(unit("a"), std::pair(Kind::character, 1));
  EXPECT_EQ(unit("éa"), std::pair(Kind::character, 2));
  EXPECT_EQ(unit("中a"), std::pair(Kind::character, 3));
  EXPECT_EQ(unit("😀a"), std::pair(Kind::character, 4));
  EXPECT_EQ(unit("\x80"), std::pair(Kind::broken, 1));
  EXPECT_EQ(unit("\xC0\xAF"), std::pair(Kind::broken, 1));          // overlong
  EXPECT_EQ(unit("\xE0\x80\xAF"), std::pair(Kind::broken, 1));      // overlong
  EXPECT_EQ(unit("\xED\xA0\x80"), std::pair(Kind::broken, 1));      // a surrogate
  EXPECT_EQ(unit("\xF4\x90\x80\x80"), std::pair(Kind::broken, 1));  // above U+10FFFF
  EXPECT_EQ(unit("\xF0\x9F\x98 "), std::pair(Kind::broken, 3));
  EXPECT_EQ(unit("\xF0\x9F\x98"), std::pair(Kind::cut, 3));
  EXPECT_EQ(unit("\xC3"), std::pair(Kind::cut, 1));
}

TEST(Utf8, EveryCodePointComesBack) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) c = 0xE000;
    std::string text;
    append_utf8(text, c);
    const Utf8Unit unit = first_utf8(text);
    ASSERT_EQ(unit.kind, Kind::character);
    ASSERT_EQ(unit.code_point, c);
    ASSERT_EQ(unit.length, text.size());
    const char* p = text.data();
    ASSERT_EQ(decode_utf8(p), c);
    ASSERT_EQ(p, text.data() + text.size());
    step_back_utf8(p);
    ASSERT_EQ(p, text.data());
  }
}

TEST(Utf8, MendsEachBrokenPartOnce) {
  EXPECT_EQ(mend_utf8("a\xF0\x9F\x98z\x80\x80é\xE4\xB8"), "a\uFFFDz\uFFFD\uFFFDé\uFFFD");
  EXPECT_EQ(mend_utf8(""), "");
}

TEST(Utf8, MendedTextIsValidAndValidTextStays) {
  rc::check([](const std::string& text) {
    const std::string mended = mend_utf8(text);
    RC_ASSERT(find_invalid_utf8(mended) == std::string::npos);
    RC_ASSERT(mend_utf8(mended) == mended);
    const size_t good = find_invalid_utf8(text);
    RC_ASSERT(mended.starts_with(text.substr(0, good)));
    if (good == std::string::npos) RC_ASSERT(mended == text);
  });
}

TEST(Utf8, ExcerptsEndBetweenCharacters) {
  EXPECT_EQ(excerpt("short"), "short");
  EXPECT_EQ(excerpt("中中中", 4), "中...");
  EXPECT_EQ(excerpt("中中中", 9), "中中中");
  EXPECT_EQ(excerpt("\xFF\xFF", 1), "\uFFFD...");
}

}  // namespace
}  // namespace minke

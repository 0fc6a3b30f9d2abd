#include "base/escape.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

TEST(Escaped, WhatIsNoTextIsSpelled) {
  EXPECT_EQ(escaped("größe 中 😀"), "größe 中 😀");
  EXPECT_EQ(escaped(std::string_view("a\0\x1b[31m\n", 8)), "a\\x00\\x1b[31m\\x0a");
  EXPECT_EQ(escaped("a\n\tb\r", "\n\t"), "a\n\tb\\x0d");
  EXPECT_EQ(escaped("\xff"
                    "é\xc3"),
            "\\xffé\\xc3");
  // Overlong, a surrogate, beyond U+10FFFF, a C1 control character.
  EXPECT_EQ(escaped("\xc0\xaf"), "\\xc0\\xaf");
  EXPECT_EQ(escaped("\xed\xa0\x80"), "\\xed\\xa0\\x80");
  EXPECT_EQ(escaped("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(escaped("\xc2\x9b"), "\\xc2\\x9b");
}

TEST(Error, IsFitToPrintWhateverItIsAbout) {
  const Error error("is \xff", "key '\x1b]0;x\x07'", "try\n  this");
  EXPECT_STREQ(error.within("a\xc3.gguf").what(),
               "a\\xc3.gguf: key '\\x1b]0;x\\x07': is \\xff (try\n  this)");
  EXPECT_EQ(error.happened(), "is \xff");
}

}  // namespace
}  // namespace minke

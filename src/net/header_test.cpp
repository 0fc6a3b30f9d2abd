#include "net/header.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

TEST(Header, IsFoundInAnyCase) {
  const HttpHeaders headers = {{"ETag", "\"a\""}, {"X-Linked-Size", "7"}};
  ASSERT_NE(find_header(headers, "x-linked-size"), nullptr);
  EXPECT_EQ(*find_header(headers, "etag"), "\"a\"");
  EXPECT_EQ(find_header(headers, "X-Linked"), nullptr);
}

TEST(Header, CannotSmuggleALine) {
  EXPECT_NO_THROW(check_header("X-A", "b c\t\"d\""));
  EXPECT_THROW(check_header("X-A", "b\r\nHost: evil"), Error);
  EXPECT_THROW(check_header("X-A", std::string_view("b\0c", 3)), Error);
  EXPECT_THROW(check_header("X A", "b"), Error);
  EXPECT_THROW(check_header("", "b"), Error);
}

TEST(Header, LinkWithARelationIsFound) {
  EXPECT_EQ(link_target("<https://h/p?cursor=a%3D>; rel=\"next\"", "next"), "https://h/p?cursor=a%3D");
  EXPECT_EQ(link_target("<a>; rel=prev, <b>;title=\"x, <c>; rel=next\" ; rel=next", "next"), "b");
  EXPECT_EQ(link_target("</x>; rel=\"first NEXT\"", "next"), "/x");
  EXPECT_EQ(link_target("<a>; rel=\"a\\\"b\", <b>; rel=next", "next"), "b");
  EXPECT_EQ(link_target("<a>; rel=prev; rel=next", "next"), "");
  EXPECT_EQ(link_target(", ,<a>; rel=next", "next"), "a");
  for (const char* text :
       {"", "a; rel=next", "<a; rel=next", "<a>", "<a>; rel=\"next", "<a>; rel=nextx", "<a> b; rel=next"})
    EXPECT_EQ(link_target(text, "next"), "") << text;
}

TEST(Header, ContentRangeIsReadStrictly) {
  const auto range = parse_content_range("bytes 5-9/10");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5u);
  EXPECT_EQ(range->last, 9u);
  EXPECT_EQ(range->total, 10u);
  ASSERT_TRUE(parse_content_range("bytes 0-0/*"));
  EXPECT_FALSE(parse_content_range("bytes 0-0/*")->total);
  for (const char* text :
       {"", "bytes */10", "bytes 5-9", "bytes 9-5/10", "bytes 5-10/10", "lines 5-9/10", "bytes -5-9/10",
        "bytes 5-9/99999999999999999999", "bytes 5 -9/10", "bytes 5/9-10"})
    EXPECT_FALSE(parse_content_range(text)) << text;
}

TEST(Header, RetryAfterIsANumberOfSeconds) {
  EXPECT_EQ(parse_retry_after("120"), 120u);
  EXPECT_FALSE(parse_retry_after("Fri, 31 Dec 1999 23:59:59 GMT"));
  EXPECT_FALSE(parse_retry_after("-1"));
  EXPECT_FALSE(parse_retry_after(""));
}

TEST(Header, TextFromOutsideIsMadePrintable) {
  EXPECT_EQ(printable("a\x1b[31m\nb", 100), "a?[31m?b");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("ab\xc3\xa4z", 3), "ab...");  // never half a letter
}

}  // namespace
}  // namespace minke

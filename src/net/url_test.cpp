#include "net/url.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

TEST(Url, PartsAreTakenApartAndPutTogether) {
  const Url url = parse_url("HTTPS://Example.ORG:8443/a%20b/c?x=1&y=%2F#part");
  EXPECT_EQ(url.scheme, "https");
  EXPECT_EQ(url.host, "example.org");
  EXPECT_EQ(url.port, 8443);
  EXPECT_EQ(url.target, "/a%20b/c?x=1&y=%2F");
  EXPECT_EQ(url.text(), "https://example.org:8443/a%20b/c?x=1&y=%2F");
  EXPECT_EQ(parse_url("http://h").text(), "http://h/");
  EXPECT_EQ(parse_url("http://h?q").target, "/?q");
  EXPECT_EQ(parse_url("https://h:443/").origin(), "https://h");
  EXPECT_EQ(parse_url("http://h:443/").origin(), "http://h:443");
  const Url six = parse_url("http://[::1]:80/x");
  EXPECT_EQ(six.host, "::1");
  EXPECT_EQ(six.text(), "http://[::1]/x");
}

TEST(Url, WhatIsNotStrictlyAUrlIsRefused) {
  for (const char* text : {"",
                           "example.org",
                           "/path",
                           "ftp://h/",
                           "file:///etc/passwd",
                           "http://",
                           "http:///x",
                           "http://h:0/",
                           "http://h:65536/",
                           "http://h:8x/",
                           "http://h:/",
                           "http://user@h/",
                           "http://u:p@h/",
                           "http://h/a b",
                           "http://h/\n",
                           "http://h/%zz",
                           "http://h/%2",
                           "http://h\\x/",
                           "http://h_ä.org/",
                           "http://[::1/",
                           "http://[::1]x/",
                           "http://[12]/",
                           "http://a..b/",
                           "http://.a/",
                           "http://-a/",
                           "http://h/\xc3\xa4",
                           "http://h/<>"})
    EXPECT_THROW(parse_url(text), Error) << text;
  EXPECT_THROW(parse_url("http://h/" + std::string(20000, 'a')), Error);
}

TEST(Url, UserInfoIsOnlyForThoseWhoAskAndNeverShown) {
  const Url url = parse_url("http://me:secret@proxy:3128", UserInfo::allowed);
  EXPECT_EQ(url.user_info, "me:secret");
  EXPECT_EQ(url.host, "proxy");
  EXPECT_EQ(url.text().find("secret"), std::string::npos);
  try {
    parse_url("http://me:secret@h/");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find("secret"), std::string::npos) << e.what();
  }
}

// RFC 3986 section 5.4.1 and 5.4.2, as far as they concern http.
TEST(Url, ReferencesResolveAsTheStandardSays) {
  const Url base = parse_url("http://a/b/c/d;p?q");
  const std::pair<const char*, const char*> cases[] = {{"g", "http://a/b/c/g"},
                                                       {"./g", "http://a/b/c/g"},
                                                       {"g/", "http://a/b/c/g/"},
                                                       {"/g", "http://a/g"},
                                                       {"//g", "http://g/"},
                                                       {"?y", "http://a/b/c/d;p?y"},
                                                       {"g?y", "http://a/b/c/g?y"},
                                                       {"#s", "http://a/b/c/d;p?q"},
                                                       {"g#s", "http://a/b/c/g"},
                                                       {";x", "http://a/b/c/;x"},
                                                       {"", "http://a/b/c/d;p?q"},
                                                       {".", "http://a/b/c/"},
                                                       {"./", "http://a/b/c/"},
                                                       {"..", "http://a/b/"},
                                                       {"../", "http://a/b/"},
                                                       {"../g", "http://a/b/g"},
                                                       {"../..", "http://a/"},
                                                       {"../../g", "http://a/g"},
                                                       {"../../../g", "http://a/g"},
                                                       {"/./g", "http://a/g"},
                                                       {"/../g", "http://a/g"},
                                                       {"g.", "http://a/b/c/g."},
                                                       {"..g", "http://a/b/c/..g"},
                                                       {"./g/.", "http://a/b/c/g/"},
                                                       {"g/./h", "http://a/b/c/g/h"},
                                                       {"g/../h", "http://a/b/c/h"},
                                                       {"g;x=1/../y", "http://a/b/c/y"},
                                                       {"g?y/../x", "http://a/b/c/g?y/../x"},
                                                       {"https://x/y", "https://x/y"},
                                                       {"g?u=http://z", "http://a/b/c/g?u=http://z"}};
  for (const auto& [reference, expected] : cases)
    EXPECT_EQ(resolve_reference(base, reference).text(), expected) << reference;
  for (const char* reference : {"mailto:x", "javascript:alert(1)", "http:g", "//u@h/", "a b"})
    EXPECT_THROW(resolve_reference(base, reference), Error) << reference;
}

RC_GTEST_PROP(Url, EncodedTextComesBackAndIsPartOfAUrl, (const std::string& text)) {
  const std::string encoded = percent_encode(text);
  RC_ASSERT(percent_decode(encoded) == text);
  RC_ASSERT(percent_decode(percent_encode(text, "/")) == text);
  RC_ASSERT(parse_url("http://h/" + encoded).target == "/" + encoded);
}

RC_GTEST_PROP(Url, TextParsesToTheSameUrl, (uint16_t port)) {
  const auto host = *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange('a', 'z')));
  RC_PRE(port != 0 && host.size() < 200);
  const Url url = parse_url("https://" + host + ":" + std::to_string(port) + "/x?y");
  RC_ASSERT(parse_url(url.text()) == url);
}

}  // namespace
}  // namespace minke

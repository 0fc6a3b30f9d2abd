#include "net/proxy.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

std::string chosen(const HttpProxies& proxies, std::string_view url) {
  const auto proxy = proxy_for(proxies, parse_url(url));
  return proxy ? proxy->authority() : "direct";
}

TEST(Proxy, IsChosenByScheme) {
  const HttpProxies proxies{"http://plain:1", "me:pw@secure:2", ""};
  EXPECT_EQ(chosen(proxies, "http://h/"), "plain:1");
  EXPECT_EQ(chosen(proxies, "https://h/"), "secure:2");
  EXPECT_EQ(proxy_for(proxies, parse_url("https://h/"))->user_info, "me:pw");
  EXPECT_EQ(chosen({}, "https://h/"), "direct");
  EXPECT_EQ(chosen(proxies, "http://localhost:8080/"), "direct");
  EXPECT_EQ(chosen(proxies, "http://127.0.0.1/"), "direct");
  EXPECT_EQ(chosen(proxies, "http://[::1]/"), "direct");
}

TEST(Proxy, ExceptionsCoverNamesBelow) {
  const HttpProxies proxies{"p:1", "p:1", " example.org, .lan,10.0.0.5 ,host:8080,[fe80::1],"};
  EXPECT_EQ(chosen(proxies, "http://example.org/"), "direct");
  EXPECT_EQ(chosen(proxies, "http://a.Example.org/"), "direct");
  EXPECT_EQ(chosen(proxies, "http://notexample.org/"), "p:1");
  EXPECT_EQ(chosen(proxies, "http://box.lan/"), "direct");
  EXPECT_EQ(chosen(proxies, "http://10.0.0.5/"), "direct");
  EXPECT_EQ(chosen(proxies, "http://host:8080/"), "direct");
  EXPECT_EQ(chosen(proxies, "http://host/"), "p:1");
  EXPECT_EQ(chosen(proxies, "http://[fe80::1]/"), "direct");
  EXPECT_EQ(chosen({"p:1", "", "*"}, "http://anything/"), "direct");
}

TEST(Proxy, WhatIsNoHttpProxyIsRefused) {
  EXPECT_THROW(chosen({"socks5://h:1", "", ""}, "http://x/"), Error);
  EXPECT_THROW(chosen({"https://h:1", "", ""}, "http://x/"), Error);
  EXPECT_THROW(chosen({"http://h:99999", "", ""}, "http://x/"), Error);
}

}  // namespace
}  // namespace minke

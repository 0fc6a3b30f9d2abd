#include "hub/environment.h"

#include <map>

#include "hub/hub_stand_in.h"

namespace minke {
namespace {

Variables given(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const char* name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

class Environment : public HubTest {};

TEST_F(Environment, FoldersAreThoseOfTheHubsTools) {
  EXPECT_EQ(hub_options(given({{"HOME", "/h"}})).cache, "/h/.cache/huggingface/hub");
  EXPECT_EQ(hub_options(given({{"HOME", "/h"}, {"XDG_CACHE_HOME", "/c"}})).cache, "/c/huggingface/hub");
  EXPECT_EQ(hub_options(given({{"HOME", "/h"}, {"HF_HOME", "~/hf"}})).cache, "/h/hf/hub");
  EXPECT_EQ(hub_options(given({{"HF_HOME", "/hf"}, {"HF_HUB_CACHE", "/x"}})).cache, "/x");
  EXPECT_EQ(hub_options(given({{"HF_HOME", "/hf"}, {"HUGGINGFACE_HUB_CACHE", "/y"}})).cache, "/y");
  EXPECT_EQ(model_places(given({{"HOME", "/h"}})).models, "/h/.local/share/minke/models");
  EXPECT_EQ(model_places(given({{"XDG_DATA_HOME", "/d"}, {"HF_HOME", "/hf"}})).models, "/d/minke/models");
  EXPECT_EQ(model_places(given({{"HF_HOME", "/hf"}})).hub_cache, "/hf/hub");
}

TEST_F(Environment, TheTokenIsGivenOrInItsFile) {
  put(folder_ / "token", " hf_file\n");
  put(folder_ / "other", "hf_other");
  const std::string home = folder_.string();
  EXPECT_EQ(hub_options(given({{"HF_HOME", home}})).token, "hf_file");
  EXPECT_EQ(hub_options(given({{"HF_HOME", home}, {"HF_TOKEN", "hf_given\n"}})).token, "hf_given");
  EXPECT_EQ(hub_options(given({{"HF_HOME", home}, {"HF_TOKEN", ""}})).token, "hf_file");
  EXPECT_EQ(hub_options(given({{"HF_HOME", home}, {"HF_TOKEN_PATH", home + "/other"}})).token, "hf_other");
  EXPECT_EQ(hub_options(given({{"HF_HOME", home + "/nowhere"}})).token, "");
}

TEST_F(Environment, EndpointAndProxies) {
  const HubOptions plain = hub_options(given({}));
  EXPECT_EQ(plain.endpoint, "https://huggingface.co");
  EXPECT_FALSE(plain.offline);
  const HubOptions set = hub_options(given({{"HF_ENDPOINT", "http://mirror"},
                                            {"HF_HUB_OFFLINE", "1"},
                                            {"HTTPS_PROXY", "p:1"},
                                            {"HTTP_PROXY", "p:2"},
                                            {"no_proxy", "lan"}}));
  EXPECT_EQ(set.endpoint, "http://mirror");
  EXPECT_TRUE(set.offline);
  EXPECT_EQ(set.http.proxies.https, "p:1");
  EXPECT_EQ(set.http.proxies.http, "");
  EXPECT_EQ(set.http.proxies.none, "lan");
  EXPECT_EQ(hub_options(given({{"all_proxy", "p:3"}})).http.proxies.http, "p:3");
  EXPECT_FALSE(hub_options(given({{"HF_HUB_OFFLINE", "0"}})).offline);
}

}  // namespace
}  // namespace minke

#include "serve/response_store.h"

#include <gtest/gtest.h>

namespace minke {
namespace {

TEST(ResponseStore, InMemoryTheOldestMakeRoom) {
  ResponseStore store({}, 100'000);
  const Json text = std::string(1000, 'x');
  for (int i = 0; i < 500; ++i) store.put({std::to_string(i), "anna", text, JsonArray{text}});
  int left = 0;
  for (int i = 0; i < 500; ++i) left += store.get(std::to_string(i), "anna").has_value();
  EXPECT_GT(left, 20);
  EXPECT_LT(left, 60);
  EXPECT_FALSE(store.get("499", "bob")) << "another's";
}

}  // namespace
}  // namespace minke

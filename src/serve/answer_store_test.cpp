#include "serve/answer_store.h"

#include <gtest/gtest.h>

namespace minke {
namespace {

fs::path fresh_file(const char* name) {
  const fs::path folder = fs::path(testing::TempDir()) / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder / "answers.db";
}

KeptAnswer answer(size_t prompt, std::vector<Token> tokens) {
  return {prompt, std::to_string(prompt), std::move(tokens)};
}

TEST(AnswerStore, FindsWhatWasKeptAtOnceAndAfterARestart) {
  const fs::path file = fresh_file("answer_store");
  {
    AnswerStore store(file);
    store.keep("a", answer(10, {1, 2, 3}));
    store.keep("a", answer(20, {4}));
    store.keep("b", answer(10, {-1}));
    EXPECT_EQ(store.find("a").size(), 2u);
    store.sync();
    EXPECT_EQ(store.find("a").size(), 2u);
    EXPECT_TRUE(store.find("c").empty());
  }
  AnswerStore store(file);
  ASSERT_EQ(store.find("b").size(), 1u);
  EXPECT_EQ(store.find("b").front(), answer(10, {-1}));
  store.keep("b", answer(10, {7, 8}));  // to the same prompt: the newest counts
  store.sync();
  ASSERT_EQ(store.find("b").size(), 1u);
  EXPECT_EQ(store.find("b").front(), answer(10, {7, 8}));
}

TEST(AnswerStore, ForgetsTheOldestBeyondItsBudget) {
  AnswerStore store({}, 100'000);
  for (int i = 0; i < 1000; ++i) {
    store.keep(std::to_string(i), answer(1, std::vector<Token>(100, i)));  // 600 bytes each
    if (i % 100 == 0) store.sync();
  }
  store.sync();
  size_t left = 0;
  for (int i = 0; i < 1000; ++i) left += store.find(std::to_string(i)).size();
  EXPECT_GT(left, 50u);
  EXPECT_LT(left, 200u);
}

TEST(AnswerStore, MakesADamagedFileAnew) {
  const fs::path file = fresh_file("answer_store_damaged");
  write_file(file, std::string(10'000, 'x'));
  AnswerStore store(file);
  store.keep("a", answer(1, {1}));
  store.sync();
  EXPECT_EQ(store.find("a").size(), 1u);
  EXPECT_THROW(AnswerStore("/proc/nowhere/answers.db"), Error);
}

}  // namespace
}  // namespace minke

#include "engine/draft.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace minke {
namespace {

using Tokens = std::vector<Token>;

TEST(LookUp, GivesWhatFollowedTheLongestEnding) {
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 4, 5, 1, 2, 3}, 2), (Tokens{4, 5}));
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 4, 5, 1, 2, 3}, 10), (Tokens{4, 5, 1, 2, 3}));
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 4, 5, 2, 3}, 4), Tokens{}) << "two tokens are too few";
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 7, 0, 1, 2, 3, 8, 1, 2, 3}, 1), Tokens{8}) << "the latest of equals";
  EXPECT_EQ(look_up(Tokens{9, 1, 2, 3, 7, 0, 1, 2, 3, 8, 9, 1, 2, 3}, 1), Tokens{7}) << "the longest first";
  EXPECT_EQ(look_up(Tokens{1, 1, 1, 1, 1}, 3), Tokens{1}) << "what is there of it";
  EXPECT_EQ(look_up(Tokens{1, 2, 3, 4, 1, 2, 3}, 0), Tokens{});
  EXPECT_EQ(look_up(Tokens{1, 2, 3}, 4), Tokens{});
  EXPECT_EQ(look_up(Tokens{}, 4), Tokens{});
}

TEST(LookUp, FollowsAnEndingThatIsThere) {
  EXPECT_TRUE(rc::check([] {
    const auto tokens = *rc::gen::container<Tokens>(rc::gen::inRange<Token>(0, 3));
    const Tokens draft = look_up(tokens, 5);
    if (draft.empty()) return;
    RC_ASSERT(draft.size() <= 5u);
    bool found = false;  // the last three tokens and the draft are somewhere one after the other
    Tokens wanted(tokens.end() - kLeastMatch, tokens.end());
    wanted.insert(wanted.end(), draft.begin(), draft.end());
    for (size_t i = 0; i + wanted.size() <= tokens.size(); ++i)
      found |= std::equal(wanted.begin(), wanted.end(), tokens.begin() + static_cast<int64_t>(i));
    RC_ASSERT(found);
  }));
}

TEST(DraftLength, GrowsWithSuccessAndPausesLongerAfterEachFailure) {
  DraftLength d;
  const int first = d.next(100);
  d.learn(first, first);
  EXPECT_GT(d.next(100), first);
  EXPECT_EQ(d.next(1), 1);
  int steps = 0, drafts = 0;
  for (; steps < 1000; ++steps) {
    const int n = d.next(100);
    drafts += n > 0;
    d.learn(n, 0);
  }
  EXPECT_GE(drafts, 2);
  EXPECT_LE(drafts, 30) << "text that never repeats pays for few drafts";
  while (d.next(100) == 0) continue;
  d.learn(2, 2);
  EXPECT_GT(d.next(100), 0);
}

}  // namespace
}  // namespace minke

#include "engine/sampling.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"

namespace minke {
namespace {

Sampling settings_of(const Json& json) {
  Sampling s;
  s.temperature = 1;
  for (const auto& [key, value] : json.as_object()) {
    const float v = static_cast<float>(value.as_double());
    if (key == "temperature")
      s.temperature = v;
    else if (key == "top_k")
      s.top_k = static_cast<int>(v);
    else if (key == "top_p")
      s.top_p = v;
    else if (key == "min_p")
      s.min_p = v;
    else if (key == "repetition_penalty")
      s.repetition_penalty = v;
    else
      ADD_FAILURE() << key;
  }
  return s;
}

TEST(Sampling, FiltersAsTheReference) {
  const Json cases = parse_json(read_file(MINKE_TESTS_DIR "/golden/units/sampling.json"));
  ASSERT_FALSE(cases.as_array().empty());
  for (const Json& c : cases.as_array()) {
    std::vector<float> logits;
    for (const Json& l : c.at("logits").as_array()) logits.push_back(static_cast<float>(l.as_double()));
    std::vector<Token> previous;
    for (const Json& id : c.at("previous_ids").as_array())
      previous.push_back(static_cast<Token>(id.as_int()));
    std::vector<double> given(logits.size());
    for (const Candidate& x : candidates(settings_of(c.at("settings")), {previous, {}}, logits))
      given[static_cast<size_t>(x.token)] = x.probability;
    const JsonArray& wanted = c.at("probs").as_array();
    for (size_t i = 0; i < given.size(); ++i)
      EXPECT_NEAR(given[i], wanted[i].as_double(), 1e-6) << to_string(c.at("settings")) << ' ' << i;
  }
}

TEST(Sampling, ZeroTemperatureTakesTheLikeliestAndTheLowerOfEquals) {
  std::vector<float> logits = {1, 5, 3, 5};
  const auto list = candidates({}, {}, logits);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].token, 1);
}

TEST(Sampling, PresenceAndFrequencyCountTheAnswerOnly) {
  Sampling s;
  s.temperature = 1;
  s.presence_penalty = 0.5f;
  s.frequency_penalty = 0.25f;
  s.logit_bias = {{3, 2.0f}};
  std::vector<float> logits = {0, 0, 0, 0};
  const std::vector<Token> prompt = {0, 0, 0}, answer = {1, 2, 2};
  const auto list = candidates(s, {prompt, answer}, logits);
  const std::vector<std::pair<Token, float>> wanted = {{3, 2.0f}, {0, 0.0f}, {1, -0.75f}, {2, -1.0f}};
  ASSERT_EQ(list.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(list[i].token, wanted[i].first);
    EXPECT_NEAR(std::log(list[i].probability / list[1].probability), wanted[i].second, 1e-5);
  }
}

TEST(Sampling, TypicalKeepsWhatIsNearestTheExpectedSurprise) {
  Sampling s;
  s.temperature = 1;
  s.typical_p = 0.2f;
  std::vector<float> logits = {std::log(0.7f), std::log(0.2f), std::log(0.1f)};
  // Entropy 0.80: surprises are 0.36, 1.61, 2.30, so the first is nearest; it alone reaches 0.2.
  const auto list = candidates(s, {}, logits);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].token, 0);
}

TEST(Sampling, MinusInfinityIsNeverDrawn) {
  Sampling s;
  s.temperature = 5;
  std::vector<float> logits = {0, -INFINITY, 0};
  for (const Candidate& c : candidates(s, {}, logits)) EXPECT_NE(c.token, 1);
}

TEST(Sampling, NumbersThatAreNotFiniteAreErrors) {
  for (const float temperature : {0.0f, 1.0f}) {
    Sampling s;
    s.temperature = temperature;
    for (const float bad : {NAN, INFINITY}) {
      std::vector<float> logits = {0, bad, 1};
      EXPECT_THROW(candidates(s, {}, logits), Error);
    }
    std::vector<float> none = {-INFINITY, -INFINITY};
    EXPECT_THROW(candidates(s, {}, none), Error);
  }
}

TEST(Sampling, TheSmallestTemperaturesAreGreedy) {
  for (const float temperature : {1e-6f, 1e-30f, 1e-44f}) {  // 1 / the last one is beyond f32
    Sampling s;
    s.temperature = temperature;
    s.top_p = 0.9f;
    s.typical_p = 0.9f;
    std::vector<float> logits = {1, 4, 3.9f, -INFINITY};
    const auto list = candidates(s, {}, logits);
    EXPECT_EQ(list.front().token, 1);
    EXPECT_NEAR(list.front().probability, 1, 1e-6);
  }
}

TEST(Sampling, ProbabilitiesSumToOneAndDescend) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    Sampling s;
    s.temperature = static_cast<float>(0.1 + 2 * random.uniform());
    s.top_k = static_cast<int>(random.below(50));
    s.top_p = static_cast<float>(0.01 + 0.99 * random.uniform());
    s.min_p = static_cast<float>(random.uniform() * 0.2);
    s.typical_p = random.below(2) ? 1.0f : 0.5f;
    std::vector<float> logits(1 + random.below(300));
    for (float& l : logits) l = random.normal() * 4;
    const auto list = candidates(s, {}, logits);
    double total = 0;
    for (const Candidate& c : list) total += c.probability;
    RC_ASSERT(std::ranges::is_sorted(list, std::greater<>(), &Candidate::probability));
    RC_ASSERT(std::abs(total - 1) < 1e-5);
  }));
}

TEST(Sampling, PickDrawsFromTheCandidates) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    Sampling s;
    s.temperature = random.below(4) == 0 ? 0 : static_cast<float>(0.1 + 20 * random.uniform());
    s.top_p = random.below(2) ? 1.0f : 0.9f;
    s.seed = random.bits();
    std::vector<float> logits(1 + random.below(5000));
    for (float& l : logits) l = random.below(10) == 0 ? -INFINITY : std::round(random.normal() * 40) / 10;
    logits[random.below(logits.size())] = 1;
    const std::vector<Token> answer(random.below(9));
    std::vector<float> copy = logits;
    const auto list = candidates(s, {{}, answer}, copy);
    RC_ASSERT(pick(s, {{}, answer}, logits) == draw(list, Random(s.seed, answer.size()).uniform()));
  }));
}

TEST(Sampling, OneNumberThatIsNotFiniteIsFoundAnywhere) {
  Random random(9);
  for (int repeat = 0; repeat < 200; ++repeat) {
    std::vector<float> logits(1 + random.below(4000), -2.0f);
    const size_t at = random.below(logits.size());
    logits[at] = 3;
    std::vector<float> copy = logits;
    EXPECT_EQ(pick({}, {}, copy), static_cast<Token>(at));
    logits[random.below(logits.size())] = repeat % 2 ? NAN : INFINITY;
    EXPECT_THROW(pick({}, {}, logits), Error);
  }
}

TEST(Sampling, DrawFollowsTheDistribution) {
  const std::vector<Candidate> list = {{7, 0.5f}, {3, 0.3f}, {9, 0.2f}};
  Random random(1);
  int counts[10] = {};
  for (int i = 0; i < 20000; ++i) ++counts[draw(list, random.uniform())];
  EXPECT_NEAR(counts[7], 10000, 300);
  EXPECT_NEAR(counts[3], 6000, 300);
  EXPECT_NEAR(counts[9], 4000, 300);
  EXPECT_EQ(draw(list, 1.0), 9);
}

TEST(Sampling, LogprobsAreOfTheRawLogits) {
  const std::vector<float> logits = {0, 1, 2};
  const Logprobs l = logprobs(logits, 0, 2);
  const double base = std::log(1 + std::exp(1.0) + std::exp(2.0));
  EXPECT_NEAR(l.own, -base, 1e-6);
  ASSERT_EQ(l.top.size(), 2u);
  EXPECT_EQ(l.top[0].first, 2);
  EXPECT_NEAR(l.top[1].second, 1 - base, 1e-6);
}

TEST(Sampling, OutOfRangeSettingsAreNamed) {
  Sampling s;
  s.top_p = 0;
  try {
    validate(s, 10);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.subject(), "top_p");
  }
  s.top_p = 1;
  s.logit_bias = {{10, 0.0f}};
  EXPECT_THROW(validate(s, 10), Error);
}

}  // namespace
}  // namespace minke

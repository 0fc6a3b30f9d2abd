#include "base/float.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"

namespace minke {
namespace {

Json golden(const char* file) {
  return parse_json(read_file(std::string(MINKE_TESTS_DIR "/golden/units/") + file));
}

TEST(Float, HalfRoundTripsEveryValue) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float f = f16_to_f32(static_cast<uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(f))));
    } else {
      EXPECT_EQ(f32_to_f16(f), h);
    }
  }
}

TEST(Float, HalfRoundsToNearestEven) {
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3c00);      // halfway, down to even
  EXPECT_EQ(f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);  // halfway, up to even
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);
  EXPECT_EQ(f32_to_f16(0x1.8p-25f), 1);
}

TEST(Float, Bfloat16RoundsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(Float, E4m3ValuesAreTheGoldenOnes) {
  const Json json = golden("e4m3.json");
  const JsonArray& list = json.at("values").as_array();
  ASSERT_EQ(list.size(), 256u);
  for (size_t i = 0; i < 256; ++i) {
    const float f = e4m3_to_f32(static_cast<uint8_t>(i));
    if (list[i].is_null()) {
      EXPECT_TRUE(std::isnan(f)) << i;
    } else {
      EXPECT_EQ(f, list[i].as_double()) << i;
    }
  }
}

TEST(Float, E4m3RoundsAsTheGoldenOnes) {
  const Json json = golden("e4m3_round.json");
  const JsonArray &inputs = json.at("x").as_array(), &bytes = json.at("byte").as_array();
  ASSERT_EQ(inputs.size(), bytes.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    EXPECT_EQ(f32_to_e4m3(static_cast<float>(inputs[i].as_double())), bytes[i].as_int())
        << inputs[i].as_double();
}

TEST(Float, E4m3RoundTripsEveryValueAndSaturates) {
  for (int i = 0; i < 256; ++i)
    if ((i & 0x7f) != 0x7f) {
      EXPECT_EQ(f32_to_e4m3(e4m3_to_f32(static_cast<uint8_t>(i))), i);
    }
  EXPECT_EQ(f32_to_e4m3(1e9f), 0x7e);
  EXPECT_EQ(f32_to_e4m3(-500.0f), 0xfe);
}

}  // namespace
}  // namespace minke

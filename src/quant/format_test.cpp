#include "quant/format.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"

namespace minke {
namespace {

const fs::path kGolden = fs::path(MINKE_TESTS_DIR) / "golden/quant";

// The tensors of a golden file: enough of safetensors for files we trust.
class Golden {
 public:
  explicit Golden(const std::string& format) : content_(read_file(kGolden / (format + ".safetensors"))) {
    std::memcpy(&header_bytes_, content_.data(), sizeof header_bytes_);
    header_ = parse_json(std::string_view(content_).substr(8, header_bytes_));
  }
  Bytes bytes(const char* tensor) const {
    const JsonArray& range = header_.at(tensor).at("data_offsets").as_array();
    const auto begin = static_cast<size_t>(range[0].as_int()), end = static_cast<size_t>(range[1].as_int());
    return as_bytes(std::string_view(content_).substr(8 + header_bytes_ + begin, end - begin));
  }
  std::vector<float> floats(const char* tensor) const {
    const Bytes from = bytes(tensor);
    std::vector<float> values(from.size() / sizeof(float));
    std::memcpy(values.data(), from.data(), from.size());
    return values;
  }

 private:
  std::string content_;
  uint64_t header_bytes_ = 0;
  Json header_;
};

std::vector<float> dequantize(const FormatInfo& format, Bytes blocks) {
  std::vector<float> values(blocks.size() / static_cast<size_t>(format.block_bytes) *
                            static_cast<size_t>(format.block));
  format.dequantize(blocks.data(), values.data(), static_cast<int64_t>(values.size()));
  return values;
}

std::vector<std::byte> quantize(const FormatInfo& format, const std::vector<float>& values) {
  std::vector<std::byte> blocks(
      static_cast<size_t>(row_bytes(format.format, static_cast<int64_t>(values.size()))));
  format.quantize(values.data(), blocks.data(), static_cast<int64_t>(values.size()));
  return blocks;
}

std::vector<float> gaussian(uint64_t seed, size_t n) {
  Random random(seed);
  std::vector<float> values(n);
  for (float& x : values) x = random.normal();
  return values;
}

double relative_rms_error(const std::vector<float>& values, const std::vector<float>& rounded) {
  double error = 0, size = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double{values[i]} - rounded[i], 2);
    size += std::pow(double{values[i]}, 2);
  }
  return std::sqrt(error / size);
}

TEST(Format, RegistryIsTheGoldenTableOfTypes) {
  const Json types = parse_json(read_file(kGolden / "types.json"));
  for (const auto& [name, row] : types.as_object()) {
    const std::optional<Format> format = format_by_name(name);
    ASSERT_TRUE(format.has_value()) << name;
    EXPECT_EQ(info(*format).gguf_type, row.at("ggml_type").as_int()) << name;
    EXPECT_EQ(info(*format).block, row.at("block_values").as_int()) << name;
    EXPECT_EQ(info(*format).block_bytes, row.at("block_bytes").as_int()) << name;
  }
}

TEST(Format, NamesAndTypeIdsLeadBackToTheFormat) {
  for (const FormatInfo& row : all_formats()) {
    EXPECT_EQ(info(row.format).name, row.name);
    EXPECT_EQ(format_by_name(row.name), row.format);
    std::string lower(row.name);
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    EXPECT_EQ(format_by_name(lower), row.format);
    if (row.gguf_type >= 0) {
      EXPECT_EQ(format_by_gguf_type(static_cast<uint32_t>(row.gguf_type)), row.format);
    }
  }
  for (const char* name : {"", "Q4", "Q4_00", "IQ1", "Q8_K"}) EXPECT_FALSE(format_by_name(name)) << name;
  EXPECT_FALSE(format_by_name(std::string_view("F32\0", 4)));
  for (const uint32_t type : {4u, 9u, 15u, 24u, 40u, 0xffffffffu})
    EXPECT_FALSE(format_by_gguf_type(type)) << type;
}

TEST(Format, BytesOfARow) {
  EXPECT_EQ(row_bytes(Format::f32, 7), 28);
  EXPECT_EQ(row_bytes(Format::q4_0, 64), 36);
  EXPECT_EQ(row_bytes(Format::q4_k, 7168), 28 * 144);
  EXPECT_EQ(row_bytes(Format::q6_k, int64_t{256} << 30), int64_t{210} << 30);
}

class EveryFormat : public testing::TestWithParam<FormatInfo> {};
class GoldenFormat : public testing::TestWithParam<FormatInfo> {};
class Quantiser : public testing::TestWithParam<FormatInfo> {};
class GoldenQuantiser : public testing::TestWithParam<FormatInfo> {};

TEST_P(GoldenFormat, DequantisesToTheBit) {
  const FormatInfo& format = GetParam();
  const Golden golden(format.name);
  const std::vector<float> expected = golden.floats("values"),
                           values = dequantize(format, golden.bytes("bytes"));
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected[i]))
        << i << ": " << values[i] << " instead of " << expected[i];
}

TEST_P(GoldenQuantiser, QuantisesToTheByte) {
  const FormatInfo& format = GetParam();
  const Golden golden(format.name);
  const Bytes expected = golden.bytes("quantize_bytes");
  const std::vector<std::byte> blocks = quantize(format, golden.floats("quantize_input"));
  ASSERT_EQ(blocks.size(), expected.size());
  for (size_t i = 0; i < blocks.size(); ++i)
    ASSERT_EQ(blocks[i], expected[i]) << "byte " << i % static_cast<size_t>(format.block_bytes)
                                      << " of block " << i / static_cast<size_t>(format.block_bytes);
}

TEST_P(EveryFormat, BlocksMayLieAnywhere) {
  const FormatInfo& format = GetParam();
  Random random(7);
  std::vector<std::byte> blocks(static_cast<size_t>(5 * format.block_bytes)), shifted(1);
  for (std::byte& b : blocks) b = static_cast<std::byte>(random.below(256));
  shifted.insert(shifted.end(), blocks.begin(), blocks.end());
  const std::vector<float> here = dequantize(format, blocks),
                           there = dequantize(format, Bytes(shifted).subspan(1));
  EXPECT_EQ(std::memcmp(here.data(), there.data(), here.size() * sizeof(float)), 0);
}

// What each rounding costs on Gaussian weights, measured once with the golden rounding.
TEST_P(Quantiser, LosesAsMuchAsItsBitsSay) {
  const FormatInfo& format = GetParam();
  const std::map<Format, double> errors = {
      {Format::f32, 0},        {Format::f16, 2.08e-4},    {Format::bf16, 1.66e-3}, {Format::f8_e4m3, 2.65e-2},
      {Format::q4_0, 8.58e-2}, {Format::q4_1, 7.79e-2},   {Format::q5_0, 4.26e-2}, {Format::q5_1, 3.78e-2},
      {Format::q8_0, 5.34e-3}, {Format::mxfp4, 1.148e-1},
  };
  const std::vector<float> values = gaussian(1, 1 << 16);
  const double error = relative_rms_error(values, dequantize(format, quantize(format, values)));
  EXPECT_NEAR(error, errors.at(format.format), 0.02 * error);
}

TEST_P(Quantiser, RoundingAnyFiniteValuesGivesFiniteOnesNearby) {
  const FormatInfo& format = GetParam();
  EXPECT_TRUE(rc::check([&] {
    const float size = std::ldexp(1.0f, *rc::gen::inRange(-30, 8));
    std::vector<float> values =
        gaussian(*rc::gen::arbitrary<uint64_t>(), static_cast<size_t>(2 * format.block));
    for (float& x : values) x *= size;
    if (*rc::gen::arbitrary<bool>()) values[0] = -0.0f;
    const std::vector<float> rounded = dequantize(format, quantize(format, values));
    float largest = 0;
    for (const float x : values) largest = std::max(largest, std::abs(x));
    // MXFP4 cuts 8 to 6; the small term is what the smallest steps of f16 and e4m3 cost.
    for (size_t i = 0; i < values.size(); ++i)
      RC_ASSERT(std::abs(rounded[i] - values[i]) <= largest / 4 + 0x1p-8f);
  }));
}

TEST_P(Quantiser, ZeroesStayZero) {
  const FormatInfo& format = GetParam();
  const std::vector<float> zeroes(512), back = dequantize(format, quantize(format, zeroes));
  for (const float x : back) ASSERT_EQ(x, 0);
}

bool has_golden(const FormatInfo& format) {  // F32 needs none; base checks F8_E4M3 byte by byte
  return format.format != Format::f32 && format.format != Format::f8_e4m3;
}
bool has_quantiser(const FormatInfo& format) { return format.quantize != nullptr; }

auto formats_where(bool (*wanted)(const FormatInfo&)) {
  std::vector<FormatInfo> found;
  std::ranges::copy_if(all_formats(), std::back_inserter(found), wanted);
  return testing::ValuesIn(found);
}
std::string name_of(const testing::TestParamInfo<FormatInfo>& row) { return row.param.name; }

INSTANTIATE_TEST_SUITE_P(All, EveryFormat, formats_where([](const FormatInfo&) { return true; }), name_of);
INSTANTIATE_TEST_SUITE_P(All, GoldenFormat, formats_where(has_golden), name_of);
INSTANTIATE_TEST_SUITE_P(All, Quantiser, formats_where(has_quantiser), name_of);
INSTANTIATE_TEST_SUITE_P(All, GoldenQuantiser,
                         formats_where([](const FormatInfo& f) { return has_golden(f) && has_quantiser(f); }),
                         name_of);

TEST(Format, EveryGoldenFileIsRead) {
  for (const auto& entry : fs::directory_iterator(kGolden)) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string name = entry.path().stem().string();
    EXPECT_TRUE(format_by_name(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace minke

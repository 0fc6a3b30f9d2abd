#include "formats/tensor_file.h"

#include <gtest/gtest.h>

#include "formats/test_files.h"

namespace minke {
namespace {

TEST(TensorFile, SizesAreCheckedForOverflow) {
  const auto size = [](Format format, std::vector<int64_t> shape) {
    return byte_size({.name = "t", .format = format, .shape = std::move(shape)});
  };
  EXPECT_EQ(size(Format::f32, {}), 4);
  EXPECT_EQ(size(Format::f32, {2, 3}), 24);
  EXPECT_EQ(size(Format::q4_k, {5, 512}), 5 * 2 * 144);
  EXPECT_EQ(size(Format::q4_k, {512, 5}), std::nullopt);
  EXPECT_EQ(size(Format::f32, {0, 3}), 0);
  EXPECT_EQ(size(Format::f32, {2, -3}), std::nullopt);
  EXPECT_EQ(size(Format::f32, {int64_t{1} << 60}), int64_t{1} << 62);
  EXPECT_EQ(size(Format::f32, {int64_t{1} << 61}), std::nullopt);
  EXPECT_EQ(size(Format::f32, {int64_t{1} << 40, int64_t{1} << 40}), std::nullopt);
  EXPECT_EQ(size(Format::f32, {int64_t{1} << 40, int64_t{1} << 40, 0}), std::nullopt);
  EXPECT_EQ(size(Format::q2_k, {INT64_MAX / 256 * 256}), INT64_MAX / 256 * 84);
}

TEST(TensorFile, ValuesOfTheWrongKindAreRefused) {
  const std::vector<std::byte> bytes(8);
  const TensorView numbers{.name = "n", .shape = {2}, .bytes = bytes};
  const TensorView ids{.name = "i", .dtype = DType::i64, .shape = {1}, .bytes = bytes};
  EXPECT_EQ(to_floats(numbers), (std::vector<float>{0, 0}));
  EXPECT_EQ(to_integers(ids), std::vector<int64_t>{0});
  EXPECT_EQ(error_of([&] { to_integers(numbers); }), "tensor 'n': holds F32, not integers");
  EXPECT_EQ(error_of([&] { to_floats(ids); }), "tensor 'i': holds I64, not numbers with a fraction");
}

TEST(TensorFile, NamesAreFitForMessages) {
  EXPECT_EQ(in_quotes("blk.0.größe"), "'blk.0.größe'");
  EXPECT_EQ(in_quotes(std::string_view("a\0\x1b\x7f\n", 5)), "'a\\x00\\x1b\\x7f\\x0a'");
  EXPECT_EQ(in_quotes(std::string(1000, 'x')).size(), 100u + 5);
  EXPECT_EQ(in_quotes("\xff"
                      "é\xc3"),
            "'\\xffé\\xc3'");
  EXPECT_EQ(in_quotes("\xc0\xaf\xed\xa0\x80\xc2\x9b"), "'\\xc0\\xaf\\xed\\xa0\\x80\\xc2\\x9b'");
  EXPECT_EQ(in_quotes(std::string(99, 'x') + "é"), "'" + std::string(99, 'x') + "\\xc3...'");
}

}  // namespace
}  // namespace minke

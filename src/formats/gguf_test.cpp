#include "formats/gguf.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>

#include <gtest/gtest.h>

#include "formats/test_files.h"

namespace minke {
namespace {

// Written by the Python package gguf 0.19: every type of value and of tensor; and the same in three parts.
const fs::path kSamples = fs::path(MINKE_TESTS_DIR) / "fuzz/corpus/gguf";

// A file put together by hand, so that any field can be wrong.
struct RawGguf {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count = {}, entry_count = {};  // where they are to differ from the truth
  std::string entries = {}, infos = {}, data = {};
  uint64_t entry_number = 0, tensor_number = 0;

  static std::string string(std::string_view text) {
    std::string out;
    put(out, uint64_t{text.size()});
    return out.append(text);
  }
  template <typename T>
  RawGguf& entry(std::string_view key, GgufType type, T value) {
    entries += string(key);
    put(entries, type);
    if constexpr (std::is_convertible_v<T, std::string_view>)
      entries += value;
    else
      put(entries, value);
    ++entry_number;
    return *this;
  }
  RawGguf& tensor(std::string_view name, std::vector<int64_t> ne, uint32_t type, uint64_t offset) {
    infos += string(name);
    put(infos, static_cast<uint32_t>(ne.size()));
    for (const int64_t n : ne) put(infos, n);
    put(infos, type);
    put(infos, offset);
    ++tensor_number;
    return *this;
  }
  RawGguf& bytes(size_t n) {
    data.append(n, '\1');
    return *this;
  }
  std::string file(size_t alignment = 32) const {
    std::string out = magic;
    put(out, version);
    put(out, tensor_count.value_or(tensor_number));
    put(out, entry_count.value_or(entry_number));
    out += entries + infos;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data;
  }
};

std::string array(GgufType type, uint64_t count, std::string_view elements) {
  std::string out;
  put(out, type);
  put(out, count);
  return out.append(elements);
}

// Reads all there is, as the fuzz target does.
void use(Bytes file) {
  const Gguf gguf = Gguf::parse(file, "sample");
  for (const auto& [key, value] : gguf.metadata())
    if (const auto* a = std::get_if<GgufArray>(&value.value); a && a->type == GgufType::string)
      gguf.strings(key);
  for (const TensorView& tensor : gguf.tensors())
    if (tensor.dtype == DType::weights) to_floats(tensor);
}

std::string refusal(const RawGguf& raw) {
  const std::string file = raw.file();
  return error_of([&] { use(as_bytes(file)); });
}

void expect_sample(const Gguf& gguf) {
  EXPECT_EQ(gguf.string("general.architecture"), "test");
  EXPECT_EQ(gguf.integer("test.u8"), 200);
  EXPECT_EQ(gguf.integer("test.i8"), -100);
  EXPECT_EQ(gguf.integer("test.u16"), 60000);
  EXPECT_EQ(gguf.integer("test.i16"), -30000);
  EXPECT_EQ(gguf.integer("test.u32"), 4000000000);
  EXPECT_EQ(gguf.integer("test.i32"), -2000000000);
  EXPECT_EQ(gguf.integer("test.i64"), INT64_MIN);
  EXPECT_EQ(gguf.number("test.f32"), 1.5);
  EXPECT_EQ(gguf.number("test.f64"), 0.1);
  EXPECT_EQ(gguf.number("test.i8"), -100.0);
  EXPECT_EQ(gguf.number("test.u64"), 0x1p64);
  EXPECT_EQ(gguf.boolean("test.bool"), true);
  EXPECT_EQ(gguf.string("test.string"), "grüße");
  EXPECT_EQ(gguf.strings("test.strings"), (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(gguf.integers("test.i32s"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(gguf.integers("test.u8s"), (std::vector<int64_t>{0, 255}));
  EXPECT_EQ(gguf.numbers("test.f32s"), (std::vector<double>{0.5, -2}));
  EXPECT_EQ(gguf.numbers("test.i32s"), (std::vector<double>{1, -2, 3}));
  EXPECT_EQ(gguf.integer("absent"), std::nullopt);
  EXPECT_EQ(gguf.strings("absent"), std::nullopt);

  ASSERT_EQ(gguf.tensors().size(), 22u);
  EXPECT_EQ(gguf.tensor("absent"), nullptr);
  EXPECT_EQ(gguf.tensor("norm.weight")->describe(), "F32 [5]");
  EXPECT_EQ(to_floats(*gguf.tensor("norm.weight")), (std::vector<float>{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_EQ(gguf.tensor("half.weight")->describe(), "F16 [2, 3]");
  EXPECT_EQ(to_floats(*gguf.tensor("half.weight")), (std::vector<float>{0, 0.5, 1, 1.5, 2, 2.5}));
  EXPECT_EQ(to_integers(*gguf.tensor("ids")), (std::vector<int64_t>{1, -2, 3, 4}));
  for (const char* name : {"i8", "i16", "i64"})
    EXPECT_EQ(to_integers(*gguf.tensor(name)), (std::vector<int64_t>{-1, 7})) << name;
  EXPECT_EQ(gguf.tensor("f64")->dtype, DType::f64);
  EXPECT_EQ(gguf.tensor("cube")->describe(), "F32 [2, 2, 2]");
  EXPECT_EQ(to_floats(*gguf.tensor("cube")), (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7}));
  int formats = 0;
  for (const FormatInfo& format : all_formats()) {  // most have two rows of one block
    const TensorView* tensor = gguf.tensor(fmt::format("{}.weight", format.name));
    if (!tensor) continue;
    ++formats;
    EXPECT_EQ(tensor->format, format.format);
    EXPECT_EQ(tensor->shape, (std::vector<int64_t>{2, format.block}));
    EXPECT_EQ(tensor->bytes.size(), static_cast<size_t>(2 * format.block_bytes));
  }
  EXPECT_EQ(formats, 14);
}

TEST(Gguf, ReadsWhatOthersWrite) {
  const Gguf gguf = Gguf::open(kSamples / "whole.gguf");
  EXPECT_EQ(gguf.version(), 3u);
  EXPECT_EQ(gguf.metadata().size(), 18u);
  EXPECT_EQ(gguf.metadata().front().first, "general.architecture");
  expect_sample(gguf);
}

TEST(Gguf, ReadsVersion2) {
  const Gguf gguf = Gguf::open(kSamples / "v2.gguf");
  EXPECT_EQ(gguf.version(), 2u);
  expect_sample(gguf);
}

TEST(Gguf, ReadsEveryFormatThatHasAType) {
  for (const FormatInfo& format : all_formats()) {
    if (format.gguf_type < 0) continue;
    RawGguf raw;
    raw.tensor("t", {format.block, 2}, static_cast<uint32_t>(format.gguf_type), 0)
        .bytes(static_cast<size_t>(2 * format.block_bytes));
    const std::string file = raw.file();
    const Gguf gguf = Gguf::parse(as_bytes(file), "sample");
    EXPECT_EQ(gguf.tensors()[0].format, format.format) << format.name;
    EXPECT_EQ(gguf.tensors()[0].shape, (std::vector<int64_t>{2, format.block})) << format.name;
    EXPECT_EQ(gguf.tensors()[0].bytes.size(), static_cast<size_t>(2 * format.block_bytes)) << format.name;
  }
}

TEST(Gguf, ValuesOfAnotherTypeAreNamed) {
  const fs::path path = kSamples / "whole.gguf";
  const Gguf gguf = Gguf::open(path);
  const auto says = [&](auto get, const char* key, const char* what) {
    const std::string text = error_of([&] { (gguf.*get)(key); });
    EXPECT_EQ(text, fmt::format("{}: key '{}': {}", path.string(), key, what));
  };
  says(&Gguf::integer, "test.u64", "is 18446744073709551615 (u64), an integer below 2^63 is needed");
  says(&Gguf::integer, "test.f32", "is f32, an integer below 2^63 is needed");
  says(&Gguf::integer, "test.bool", "is bool, an integer below 2^63 is needed");
  says(&Gguf::number, "test.string", "is string, a number is needed");
  says(&Gguf::boolean, "test.u8", "is 200 (u8), a bool is needed");
  says(&Gguf::string, "test.strings", "is an array of string, a string is needed");
  says(&Gguf::strings, "test.i32s", "is an array of i32, an array of strings is needed");
  says(&Gguf::integers, "test.f32s", "is an array of f32, an array of integers is needed");
  says(&Gguf::integers, "test.u8", "is 200 (u8), an array of integers is needed");
  says(&Gguf::numbers, "test.bools", "is an array of bool, an array of numbers is needed");
}

TEST(Gguf, OtherFilesAreToldFromGguf) {
  const auto says = [](std::string_view file, std::string_view what) {
    const std::vector<char> exact(file.begin(), file.end());
    expect_says(error_of([&] { use(as_bytes({exact.data(), exact.size()})); }), what);
  };
  says("", "sample: is empty, not a GGUF file (download it again)");
  says("GGU", "sample: is not a GGUF file");
  says("version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer (fetch");
  says("<!DOCTYPE html>", "a web page");
  says("tjgg....", "before GGUF");
  says("\x1b[31mred", "'\\x1b[31mred'");
  says("GGUF", "the file ends at byte 4");
}

TEST(Gguf, VersionsThatAreNotReadAreNamed) {
  expect_says(refusal({.version = 1}), "version 1");
  expect_says(refusal({.version = 4}), "version 4, versions 2 and 3 are read");
  expect_says(refusal({.version = 0x03000000}), "big-endian");
}

TEST(Gguf, CountsMustFitTheFile) {
  expect_says(refusal({.tensor_count = 1000}), "says it has 1000 tensors, but ends");
  expect_says(refusal({.tensor_count = uint64_t{1} << 63}), "9223372036854775808 tensors, at most");
  expect_says(refusal({.entry_count = 1000}), "says it has 1000 metadata entries, but ends");
  expect_says(refusal({.entry_count = ~uint64_t{0}}), "metadata entries, at most");
}

TEST(Gguf, BadMetadataIsNamed) {
  const auto says = [](const RawGguf& raw, std::string_view what) { expect_says(refusal(raw), what); };
  says(RawGguf().entry("", GgufType::u8, '\1'), "metadata entry 1 of 1: has an empty key");
  says(RawGguf().entry("a", GgufType::u8, '\1').entry("a", GgufType::u8, '\1'), "key 'a': appears twice");
  says(RawGguf().entry("a", GgufType{13}, uint32_t{1}), "key 'a': is of unknown type 13");
  says(RawGguf().entry("a", GgufType::boolean, '\2'), "key 'a': has 2 for a bool");
  says(RawGguf().entry("a", GgufType::array, array(GgufType::boolean, 2, "\1\3")),
       "key 'a': has 3 for a bool");
  says(RawGguf().entry("a", GgufType::array, array(GgufType::array, 0, "")), "array of arrays");
  says(RawGguf().entry("a", GgufType::array, array(GgufType::u64, uint64_t{1} << 61, "")),
       "elements, at most");
  says(RawGguf().entry("a", GgufType::array, array(GgufType::u64, 1 << 20, "")),
       "needs 8388608 bytes at byte");
  says(RawGguf().entry("a", GgufType::array, array(GgufType::string, 9, RawGguf::string("x"))),
       "key 'a': needs");
  std::string huge;
  put(huge, uint64_t{65} << 20);
  says(RawGguf().entry("a", GgufType::string, huge), "has a string of 68157440 bytes, at most 67108864");
  says(RawGguf().entry(std::string(70000, 'k'), GgufType::u8, '\1'), "string of 70000 bytes, at most 65535");
}

TEST(Gguf, BadTensorsAreNamed) {
  const auto says = [](const RawGguf& raw, std::string_view what) { expect_says(refusal(raw), what); };
  const std::string long_name(64, 'n');
  says(RawGguf().tensor("", {8}, 0, 0).bytes(32), "the list of tensors: has an empty name");
  says(RawGguf().tensor(long_name, {8}, 0, 0).bytes(32), "string of 64 bytes, at most 63");
  says(RawGguf().tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).bytes(64), "tensor 't': appears twice");
  says(RawGguf().tensor("t", {}, 0, 0).bytes(32), "tensor 't': has 0 dimensions");
  says(RawGguf().tensor("t", {1, 1, 1, 1, 1}, 0, 0).bytes(32), "has 5 dimensions");
  says(RawGguf().tensor("t", {8, 0}, 0, 0).bytes(32), "has a dimension of 0");
  says(RawGguf().tensor("t", {-8}, 0, 0).bytes(32), "has a dimension of -8");
  says(RawGguf().tensor("t", {48, 2}, 2, 0).bytes(54),
       "has rows of 48 weights, which are no whole blocks of Q4_0");
  says(RawGguf().tensor("t", {INT64_MAX}, 0, 0).bytes(32), "ends beyond what a file can hold");
  says(RawGguf().tensor("t", {int64_t{1} << 32, int64_t{1} << 32}, 0, 0).bytes(32), "ends beyond");
  says(RawGguf().tensor("t", {8}, 0, 32).bytes(64), "its data is at offset 32 instead of 0");
  says(RawGguf().tensor("t", {8}, 0, 0).tensor("u", {8}, 0, 0).bytes(64),
       "tensor 'u': its data is at offset 0");
  says(RawGguf().tensor("t", {8}, 0, 0).tensor("u", {8}, 0, 36).bytes(68), "at offset 36 instead of 32");
  says(RawGguf().tensor("t", {256}, 35, 0).bytes(66),
       "tensor 't': is of type TQ2_0 (35), which Minke does not");
  says(RawGguf().tensor("t", {256}, 4, 0).bytes(66), "tensor 't': is of unknown type 4");
  says(RawGguf().tensor("bad\nname", {256}, 999, 0), "tensor 'bad\\x0aname': is of unknown type 999");
}

TEST(Gguf, AlignmentIsAPowerOfTwo) {
  const auto aligned = [](uint32_t alignment) {
    return RawGguf().entry("general.alignment", GgufType::u32, alignment).tensor("t", {8}, 0, 0).bytes(32);
  };
  for (const uint32_t alignment : {8u, 64u, 4096u}) {
    const std::string file = aligned(alignment).file(alignment);
    const Gguf gguf = Gguf::parse(as_bytes(file), "sample");
    EXPECT_EQ(gguf.tensors()[0].bytes.size(), 32u);
    EXPECT_EQ(gguf.tensors()[0].bytes.data(), as_bytes(file).last(32).data());
  }
  for (const uint32_t alignment : {0u, 1u, 4u, 24u, 1u << 21})
    expect_says(refusal(aligned(alignment)),
                fmt::format("key 'general.alignment': is {}, a power of two", alignment));
  expect_says(refusal(RawGguf().entry("general.alignment", GgufType::string, RawGguf::string("32"))),
              "is string");
}

TEST(Gguf, AFileCutShortNamesTheFirstMissingTensor) {
  RawGguf raw;
  raw.tensor("first", {8}, 0, 0)
      .tensor("second", {256, 3}, 12, 32)
      .tensor("third", {8}, 0, 480)
      .bytes(480 + 32);
  const std::string whole = raw.file();
  use(as_bytes(whole));
  const std::string cut = whole.substr(0, whole.size() - 40);  // into the padding: second still there
  expect_says(
      error_of([&] { use(as_bytes(cut)); }),
      fmt::format(
          "tensor 'third': its data ends at byte {}, the file at byte {}: the file is cut short, 1 of 3",
          whole.size(), cut.size()));
  const std::string half = whole.substr(0, whole.size() - 300);
  const std::string text = error_of([&] { use(as_bytes(half)); });
  expect_says(text, "tensor 'second'");
  expect_says(text, "2 of 3 tensors are not whole (download it again: whole, it has");
}

TEST(Gguf, ShapesAreSlowestFirst) {
  const std::string file = RawGguf().tensor("t", {64, 3, 2}, 2, 0).bytes(36 * 6).file();
  const Gguf gguf = Gguf::parse(as_bytes(file), "sample");
  EXPECT_EQ(gguf.tensors()[0].describe(), "Q4_0 [2, 3, 64]");
  EXPECT_EQ(gguf.tensors()[0].count(), 2 * 3 * 64);
}

TEST(Gguf, EveryCutOfASampleIsRefused) {
  for (const char* name : {"whole.gguf", "v2.gguf", "split-00003-of-00003.gguf"})
    cut_everywhere(read_file(kSamples / name), 1, use);
}

// A vocabulary and a few tensors, some 600 KB.
std::string large_sample() {
  RawGguf raw;
  std::string tokens;
  for (int i = 0; i < 20000; ++i) tokens += RawGguf::string(fmt::format("token {}", i));
  raw.entry("tokenizer.ggml.tokens", GgufType::array, array(GgufType::string, 20000, tokens));
  for (uint64_t i = 0; i < 8; ++i) raw.tensor(fmt::format("blk.{}.weight", i), {256, 144}, 12, i * 144 * 144);
  return raw.bytes(8 * 144 * 144).file();
}

TEST(Gguf, CutsAtPagesAreRefused) { cut_everywhere(large_sample(), 4096, use); }

void expect_turned_bits_do_no_harm(int rounds) {
  for (const char* name : {"whole.gguf", "v2.gguf", "split-00001-of-00003.gguf"}) {
    const std::string file = read_file(kSamples / name);
    EXPECT_GT(turn_bits(file, file.size(), rounds, use), rounds / 10);
  }
  const std::string file = large_sample();
  turn_bits(file, file.size() - 8 * 144 * 144, rounds / 4, use);
}

TEST(Gguf, TurnedBitsDoNoHarm) { expect_turned_bits_do_no_harm(1000); }
TEST(Gguf, DISABLED_SlowTurnedBitsDoNoHarm) { expect_turned_bits_do_no_harm(200000); }

}  // namespace
}  // namespace minke

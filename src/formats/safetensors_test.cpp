#include "formats/safetensors.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/json.h"
#include "formats/test_files.h"

namespace minke {
namespace {

// Written by the Python package safetensors, and one with FP8 put together by hand.
const fs::path kSamples = fs::path(MINKE_TESTS_DIR) / "fuzz/corpus/safetensors";
const fs::path kModels = fs::path(MINKE_TESTS_DIR) / "golden/models";

std::string file_of(std::string_view header, size_t data_bytes) {
  std::string out;
  put(out, uint64_t{header.size()});
  return out.append(header).append(data_bytes, '\1');
}

void use(Bytes file) {
  const Safetensors model = Safetensors::parse(file, "sample");
  for (const TensorView& tensor : model.tensors())
    if (tensor.dtype == DType::weights) to_floats(tensor);
}

std::string refusal(std::string_view header, size_t data_bytes) {
  const std::string file = file_of(header, data_bytes);
  return error_of([&] { use(as_bytes(file)); });
}

TEST(Safetensors, ReadsWhatOthersWrite) {
  const Safetensors model = Safetensors::open(kSamples / "numpy.safetensors");
  EXPECT_EQ(model.tensors().size(), 10u);
  EXPECT_EQ(model.metadata().size(), 2u);
  EXPECT_TRUE(std::ranges::count(model.metadata(), std::pair<std::string, std::string>("grüße", "\n")));
  EXPECT_EQ(model.tensor("absent"), nullptr);
  EXPECT_EQ(model.tensor("f32")->describe(), "F32 [2, 3]");
  EXPECT_EQ(to_floats(*model.tensor("f32")), (std::vector<float>{0, 0.25, 0.5, 0.75, 1, 1.25}));
  EXPECT_EQ(to_floats(*model.tensor("f16")), (std::vector<float>{0, 0.5, 1}));
  EXPECT_EQ(model.tensor("f64")->describe(), "F64 []");
  EXPECT_EQ(to_floats(*model.tensor("f64")), std::vector<float>{0.1f});
  EXPECT_EQ(to_integers(*model.tensor("i64")), (std::vector<int64_t>{-1, int64_t{1} << 40}));
  EXPECT_EQ(model.tensor("i32")->describe(), "I32 [2, 1]");
  EXPECT_EQ(to_integers(*model.tensor("i32")), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(to_integers(*model.tensor("i16")), std::vector<int64_t>{-300});
  EXPECT_EQ(to_integers(*model.tensor("i8")), (std::vector<int64_t>{-1, 7, 9}));
  EXPECT_EQ(to_integers(*model.tensor("u8")), std::vector<int64_t>{200});
  EXPECT_EQ(to_integers(*model.tensor("bool")), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(model.tensor("empty")->describe(), "F32 [0, 4]");
  EXPECT_TRUE(to_floats(*model.tensor("empty")).empty());
}

TEST(Safetensors, ReadsShortFloats) {
  const Safetensors model = Safetensors::open(kSamples / "fp8.safetensors");
  EXPECT_EQ(model.tensor("w")->describe(), "F8_E4M3 [2, 2]");
  EXPECT_EQ(to_floats(*model.tensor("w")), (std::vector<float>{1, -1, 448, 0x1p-9f}));
  EXPECT_EQ(model.tensor("b")->describe(), "BF16 [2]");
  EXPECT_EQ(to_floats(*model.tensor("b")), (std::vector<float>{1, -2}));
  EXPECT_EQ(model.tensors()[0].name, "w_scale_inv");  // first in the file, though not in the header
}

TEST(Safetensors, BadHeadersAreNamed) {
  const auto says = [](std::string_view header, std::string_view what) {
    expect_says(refusal(header, 4), what);
  };
  const auto entry = [](std::string_view dtype, std::string_view shape, std::string_view offsets) {
    return fmt::format(R"({{"t":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
  };
  says("", "JSON");
  says("[]", "sample: expected object, found array");
  says(R"({"t":1})", "sample: tensor 't': expected object, found integer");
  says(R"({"t":{}})", "tensor 't': 'dtype', 'shape' and 'data_offsets' must be all its keys");
  says(R"({"__metadata__":{"a":1}})", "__metadata__: expected string");
  says(R"({"__metadata__":{},"a":[[[[]]]]})", "JSON");
  says(entry("F32", "[1]", "[0,4],\"x\":1"), "must be all its keys");
  for (const char* type : {"U16", "U32", "U64", "F8_E5M2", "F8_E8M0", "C64", "F4", "f32", "\\u001b"})
    says(entry(type, "[1]", "[0,4]"), "tensor 't': is of type '");
  says(entry("F32", "[-1]", "[0,4]"), "F32 [-1] does not lie in bytes 0 to 4");
  says(entry("F32", "[0.5]", "[0,4]"), "tensor 't': expected integer");
  says(entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "has 9 dimensions");
  says(entry("F32", "[4294967296,4294967296]", "[0,4]"), "does not lie in bytes 0 to 4");
  says(entry("F32", "[2]", "[0,4]"), "does not lie in bytes 0 to 4");
  says(entry("F32", "[1]", "[4,0]"), "does not lie in bytes 4 to 0");
  says(entry("F32", "[1]", "[-4,0]"), "negative offset");
  says(entry("F32", "[1]", "[0]"), "must be [begin, end]");
  says(entry("F32", "[1]", "[0,18446744073709551615]"), "integer out of range");
  says(entry("I8", "[3]", "[0,3]"), "1 bytes after the last tensor belong to none");
  says(entry("I8", "[3]", "[1,4]"), "its data begins at offset 1, the one before ends at 0");
  says(entry("F32", "[2]", "[0,8]"), "its data ends at byte");
}

TEST(Safetensors, TensorsLieSideBySide) {
  const auto two = [](int begin1, int end1, int begin2, int end2) {
    return fmt::format(R"({{"a":{{"dtype":"I8","shape":[{}],"data_offsets":[{},{}]}},)"
                       R"("b":{{"dtype":"I8","shape":[{}],"data_offsets":[{},{}]}}}})",
                       end1 - begin1, begin1, end1, end2 - begin2, begin2, end2);
  };
  use(as_bytes(file_of(two(4, 8, 0, 4), 8)));
  expect_says(refusal(two(0, 4, 3, 7), 7),
              "tensor 'b': its data begins at offset 3, the one before ends at 4");
  expect_says(refusal(two(0, 4, 5, 9), 9),
              "tensor 'b': its data begins at offset 5, the one before ends at 4");
  expect_says(refusal(two(0, 4, 0, 4), 4), "its data begins at offset 0, the one before ends at 4");
  expect_says(refusal(R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},"\u0061":{}})", 4),
              "'a' is repeated");
}

TEST(Safetensors, AFileCutShortNamesTheFirstMissingTensor) {
  const std::string header =
      R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"I8","shape":[4],"data_offsets":[4,8]}})";
  const std::string text = refusal(header, 7);
  expect_says(
      text,
      fmt::format("tensor 'b': its data ends at byte {}, the file at byte {}: the file is cut short, 1 of 2",
                  header.size() + 16, header.size() + 15));
  expect_says(text, fmt::format("whole, it has {} bytes", header.size() + 16));
}

TEST(Safetensors, OtherFilesAreToldFromSafetensors) {
  expect_says(error_of([&] { use({}); }), "sample: is empty, not a safetensors file");
  expect_says(error_of([&] { use(as_bytes("version https://git-lfs.github.com/spec/v1\noid")); }),
              "a Git LFS pointer");
  expect_says(error_of([&] { use(as_bytes("GGUF\3\0\0\0\xff\xff\xff\xff")); }), "a GGUF file");
  std::string cut;
  put(cut, uint64_t{1000});
  expect_says(error_of([&] { use(as_bytes(cut)); }), "its header ends at byte 1008, the file at byte 8");
}

TEST(Safetensors, EveryCutOfASampleIsRefused) {
  for (const char* name : {"numpy.safetensors", "fp8.safetensors"})
    cut_everywhere(read_file(kSamples / name), 1, use);
  cut_everywhere(read_file(kModels / "llama/model.safetensors"), 4096, use);
}

void expect_turned_bits_do_no_harm(int rounds) {
  for (const char* name : {"numpy.safetensors", "fp8.safetensors"}) {
    const std::string file = read_file(kSamples / name);
    EXPECT_GT(turn_bits(file, file.size(), rounds, use), rounds / 10);
  }
  const std::string file = read_file(kModels / "qwen2/model.safetensors");
  turn_bits(file, 8 + 2000, rounds / 4, use);
}

TEST(Safetensors, TurnedBitsDoNoHarm) { expect_turned_bits_do_no_harm(1000); }
TEST(Safetensors, DISABLED_SlowTurnedBitsDoNoHarm) { expect_turned_bits_do_no_harm(100000); }

TEST(Safetensors, WhatItSavesIsRead) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.safetensors";
  EXPECT_TRUE(rc::check([&] {
    constexpr DType kTypes[] = {DType::weights, DType::weights, DType::i8,  DType::i16,    DType::i32,
                                DType::i64,     DType::u8,      DType::f64, DType::boolean};
    constexpr Format kFormats[] = {Format::f32, Format::f16, Format::bf16, Format::f8_e4m3};
    std::vector<TensorView> tensors(*rc::gen::inRange<size_t>(0, 6));
    std::vector<std::vector<std::byte>> contents;
    for (size_t i = 0; i < tensors.size(); ++i) {
      TensorView& tensor = tensors[i];
      tensor.name = fmt::format("{} {}", i, i % 2 == 0 ? "\"\\\n" : "größe");
      tensor.dtype = *rc::gen::elementOf(std::vector<DType>(std::begin(kTypes), std::end(kTypes)));
      tensor.format = *rc::gen::elementOf(std::vector<Format>(std::begin(kFormats), std::end(kFormats)));
      tensor.shape = *rc::gen::container<std::vector<int64_t>>(2, rc::gen::inRange<int64_t>(0, 5));
      tensor.bytes =
          contents.emplace_back(static_cast<size_t>(*byte_size(tensor)), static_cast<std::byte>(i + 1));
    }
    save_safetensors(path, tensors, {{{"format", "pt"}}});
    const Safetensors model = Safetensors::open(path);
    RC_ASSERT(model.tensors().size() == tensors.size());
    RC_ASSERT(model.metadata().size() == 1u);
    for (const TensorView& tensor : tensors) {
      const TensorView* found = model.tensor(tensor.name);
      RC_ASSERT(found && found->describe() == tensor.describe());
      RC_ASSERT(std::ranges::equal(found->bytes, tensor.bytes));
      const auto element =
          static_cast<uintptr_t>(*byte_size({.dtype = tensor.dtype, .format = tensor.format}));
      RC_ASSERT(reinterpret_cast<uintptr_t>(found->bytes.data()) % element == 0u);
    }
  }));
}

TEST(Safetensors, TensorsItCannotSaveAreNamed) {
  const TemporaryFolder folder;
  const std::vector<std::byte> bytes(144);
  const auto refused = [&](const std::vector<TensorView>& tensors) {
    return error_of([&] { save_safetensors(folder / "b.safetensors", tensors); });
  };
  const TensorView quantised{.name = "t", .format = Format::q4_k, .shape = {256}, .bytes = bytes};
  const TensorView plain{.name = "t", .shape = {36}, .bytes = bytes};
  const TensorView reserved{.name = "__metadata__", .shape = {36}, .bytes = bytes};
  expect_says(refused({quantised}), "tensor 't': safetensors has no type for Q4_K");
  expect_says(refused({plain, plain}), "tensor 't': its name is taken");
  expect_says(refused({reserved}), "tensor '__metadata__': its name is taken");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Safetensors, IsCutIntoShardsWithAnIndex) {
  std::vector<TensorView> tensors;
  for (const int64_t rows : {4, 3, 1, 90, 2})
    tensors.push_back({.name = fmt::format("t{}", rows), .format = Format::f32, .shape = {rows, 25}});
  const std::vector<size_t> ends = shard_ends(tensors, 800);
  EXPECT_EQ(ends, (std::vector<size_t>{3, 4, 5}));  // what is too large stands alone
  const SafetensorsShards made = safetensors_shards(tensors, ends);
  ASSERT_EQ(made.shards.size(), 3u);
  EXPECT_EQ(made.shards[1].name, "model-00002-of-00003.safetensors");
  EXPECT_EQ(made.shards[1].begin, 3u);
  EXPECT_EQ(made.shards[1].header, safetensors_header({&tensors[3], 1}, {{{"format", "pt"}}}));
  const Json index = parse_json(made.index);
  EXPECT_EQ(index.at("metadata").at("total_size").as_int(), 10'000);
  EXPECT_EQ(index.at("weight_map").at("t1").as_string(), "model-00001-of-00003.safetensors");
  EXPECT_EQ(index.at("weight_map").as_object().size(), 5u);

  const SafetensorsShards one = safetensors_shards(tensors, shard_ends(tensors, 10'000));
  ASSERT_EQ(one.shards.size(), 1u);
  EXPECT_EQ(one.shards[0].name, "model.safetensors");
  EXPECT_TRUE(one.index.empty());
}

}  // namespace
}  // namespace minke

#include "formats/gguf_writer.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "formats/test_files.h"

namespace minke {
namespace {

const fs::path kSample = fs::path(MINKE_TESTS_DIR) / "fuzz/corpus/gguf/whole.gguf";

TEST(GgufWriter, WritesWhatAnotherWriterWrote) {
  const TemporaryFolder folder;
  const Gguf sample = Gguf::open(kSample);
  GgufWriter writer(folder / "copy.gguf");
  for (const auto& [key, value] : sample.metadata()) writer.add(key, value);
  for (const TensorView& tensor : sample.tensors()) writer.declare(tensor);
  for (const TensorView& tensor : sample.tensors()) {
    writer.write(tensor.bytes.first(tensor.bytes.size() / 3));  // in pieces of any size
    writer.write(tensor.bytes.subspan(tensor.bytes.size() / 3));
  }
  writer.commit();
  EXPECT_EQ(read_file(folder / "copy.gguf"), read_file(kSample));
}

TEST(GgufWriter, ArraysAndOtherAlignments) {
  const TemporaryFolder folder;
  GgufWriter writer(folder / "a.gguf");
  writer.add("general.alignment", {GgufType::u32, uint64_t{4096}});
  writer.add("strings", std::vector<std::string>{"one", ""});
  writer.add("integers", std::vector<int32_t>{-1, 2});
  writer.add("numbers", std::vector<float>{0.5f});
  const std::vector<float> values = {1, 2, 3};
  writer.declare({.name = "t", .shape = {3}});
  writer.write(std::as_bytes(std::span(values)));
  writer.commit();
  const Gguf gguf = Gguf::open(folder / "a.gguf");
  EXPECT_EQ(gguf.find("general.alignment"), nullptr);
  EXPECT_EQ(gguf.strings("strings"), (std::vector<std::string_view>{"one", ""}));
  EXPECT_EQ(gguf.integers("integers"), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(gguf.numbers("numbers"), std::vector<double>{0.5});
  EXPECT_EQ(to_floats(gguf.tensors()[0]), values);
}

TEST(GgufWriter, WhatItWritesIsRead) {
  const TemporaryFolder folder;
  EXPECT_TRUE(rc::check([&] {
    const auto formats = all_formats();
    std::vector<TensorView> tensors(*rc::gen::inRange<size_t>(0, 6));
    std::vector<std::vector<std::byte>> contents;
    for (size_t i = 0; i < tensors.size(); ++i) {
      TensorView& tensor = tensors[i];
      do tensor.format = formats[*rc::gen::inRange<size_t>(0, formats.size())].format;
      while (info(tensor.format).gguf_type < 0);
      tensor.name = fmt::format("tensor.{}", i);
      tensor.shape = *rc::gen::container<std::vector<int64_t>>(2, rc::gen::inRange<int64_t>(1, 5));
      tensor.shape.push_back(*rc::gen::inRange(1, 4) * info(tensor.format).block);
      contents.emplace_back(static_cast<size_t>(*byte_size(tensor)), static_cast<std::byte>(i + 1));
    }
    GgufWriter writer(folder / "b.gguf");
    const auto text = *rc::gen::arbitrary<std::string>();
    writer.add("text", {GgufType::string, std::string_view(text)});
    for (const TensorView& tensor : tensors) writer.declare(tensor);
    for (const auto& content : contents) writer.write(content);
    writer.commit();

    const Gguf gguf = Gguf::open(folder / "b.gguf");
    RC_ASSERT(gguf.string("text") == text);
    RC_ASSERT(gguf.tensors().size() == tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      RC_ASSERT(gguf.tensors()[i].name == tensors[i].name);
      RC_ASSERT(gguf.tensors()[i].describe() == tensors[i].describe());
      RC_ASSERT(std::ranges::equal(gguf.tensors()[i].bytes, contents[i]));
    }
  }));
}

TEST(GgufWriter, TensorsGgufCannotHoldAreNamed) {
  const TemporaryFolder folder;
  GgufWriter writer(folder / "c.gguf");
  const auto refusal = [&](const TensorView& tensor) { return error_of([&] { writer.declare(tensor); }); };
  expect_says(refusal({.name = "t", .format = Format::f8_e4m3, .shape = {128}}),
              "tensor 't': GGUF has no type for F8");
  expect_says(refusal({.name = "t", .dtype = DType::u8, .shape = {128}}), "GGUF has no type for U8");
  for (const TensorView& tensor :
       {TensorView{.name = "", .shape = {1}}, TensorView{.name = std::string(64, 'n'), .shape = {1}},
        TensorView{.name = "t", .shape = {}}, TensorView{.name = "t", .shape = {1, 1, 1, 1, 1}},
        TensorView{.name = "t", .shape = {0}},
        TensorView{.name = "t", .format = Format::q4_k, .shape = {128}}})
    expect_says(refusal(tensor), "GGUF holds no ");
}

TEST(GgufWriter, NothingIsLeftWithoutCommit) {
  const TemporaryFolder folder;
  {
    GgufWriter writer(folder / "d.gguf");
    writer.declare({.name = "t", .shape = {8}});
    writer.write(std::vector<std::byte>(8));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace minke

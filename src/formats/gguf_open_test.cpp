#include <fmt/format.h>
#include <gtest/gtest.h>

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "formats/test_files.h"

namespace minke {
namespace {

const fs::path kSamples = fs::path(MINKE_TESTS_DIR) / "fuzz/corpus/gguf";

std::string part_name(int number, int count = 3) {
  return fmt::format("split-{:05}-of-{:05}.gguf", number, count);
}

// The three parts of the sample, to be spoilt.
class SplitGguf : public testing::Test {
 protected:
  TemporaryFolder folder_;
  void SetUp() override {
    for (int i = 1; i <= 3; ++i) fs::copy_file(kSamples / part_name(i), folder_ / part_name(i));
  }
  std::string refusal(int named = 1, int count = 3) {
    return error_of([&] { Gguf::open(folder_ / part_name(named, count)); });
  }
  // Overwrites what stands `skip` bytes behind a key.
  void patch(int part, std::string_view key, size_t skip, std::string_view bytes) {
    std::string file = read_file(folder_ / part_name(part));
    file.replace(file.find(key) + key.size() + skip, bytes.size(), bytes);
    write_text(folder_ / part_name(part), file);
  }
};

TEST_F(SplitGguf, AnyPartNamesTheWhole) {
  const Gguf whole = Gguf::open(kSamples / "whole.gguf");
  for (int named = 1; named <= 3; ++named) {
    const Gguf gguf = Gguf::open(folder_ / part_name(named));
    EXPECT_EQ(gguf.path(), folder_ / part_name(named));
    EXPECT_EQ(gguf.strings("test.strings"), whole.strings("test.strings"));
    ASSERT_EQ(gguf.tensors().size(), whole.tensors().size());
    for (size_t i = 0; i < gguf.tensors().size(); ++i) {
      const TensorView &tensor = gguf.tensors()[i], &expected = whole.tensors()[i];
      EXPECT_EQ(tensor.name, expected.name);
      EXPECT_EQ(tensor.describe(), expected.describe());
      EXPECT_EQ(as_text(tensor.bytes), as_text(expected.bytes)) << tensor.name;
      EXPECT_EQ(gguf.tensor(tensor.name), &tensor);
    }
  }
}

TEST_F(SplitGguf, AMissingPartIsNamed) {
  fs::remove(folder_ / part_name(2));
  for (const int named : {1, 3}) {
    const std::string text = refusal(named);
    expect_says(text, (folder_ / part_name(2)).string());
    expect_says(text, "part 2 of 3 is missing");
  }
}

TEST_F(SplitGguf, PartsMustBeWhatTheirNamesSay) {
  fs::rename(folder_ / part_name(2), folder_ / "kept");
  fs::rename(folder_ / part_name(3), folder_ / part_name(2));
  fs::rename(folder_ / "kept", folder_ / part_name(3));
  expect_says(refusal(), part_name(2) + ": key 'split.no': is 2, the file's name says 1");
}

TEST_F(SplitGguf, CountsMustAgree) {
  for (int i = 1; i <= 2; ++i) fs::copy_file(folder_ / part_name(i), folder_ / part_name(i, 2));
  expect_says(refusal(1, 2), "key 'split.count': is 3, the file's name says 2");
}

TEST_F(SplitGguf, TensorsOfAllPartsAreCounted) {
  for (int i = 1; i <= 3; ++i) patch(i, "split.tensors.count", 4, "\x17");
  expect_says(refusal(), "the parts hold 22 tensors, key 'split.tensors.count' says 23");
}

TEST_F(SplitGguf, APartOfAnotherModelIsFound) {
  patch(2, "split.tensors.count", 4, "\x17");
  expect_says(refusal(), part_name(2) + ": key 'split.tensors.count': differs from the first part's");
}

TEST_F(SplitGguf, ATensorInTwoPartsIsNamed) {
  const MappedFile file(kSamples / part_name(3));
  const Gguf third = Gguf::parse(file.bytes(), "third");
  GgufWriter writer(folder_ / part_name(3));
  for (const char* key : {"split.no", "split.count", "split.tensors.count"})
    writer.add(key, *third.find(key));
  writer.declare({.name = "ids", .shape = {2}});
  writer.write(std::vector<std::byte>(8));
  writer.commit();
  expect_says(refusal(), part_name(3) + ": tensor 'ids': is in an earlier part too");
}

TEST_F(SplitGguf, APartIsNotTakenForTheWhole) {
  fs::copy_file(folder_ / part_name(1), folder_ / "model.gguf");
  expect_says(error_of([&] { Gguf::open(folder_ / "model.gguf"); }),
              "is part 1 of 3 of a split file, but is not named");
}

TEST_F(SplitGguf, AWholeFileIsNotTakenForAPart) {
  fs::copy_file(kSamples / "whole.gguf", folder_ / "split-00001-of-00002.gguf");
  expect_says(refusal(1, 2), "key 'split.no': is missing in a part of a split file");
}

TEST_F(SplitGguf, OnePartOfOneNeedsNoKeys) {
  fs::copy_file(kSamples / "whole.gguf", folder_ / "model-00001-of-00001.gguf");
  EXPECT_EQ(Gguf::open(folder_ / "model-00001-of-00001.gguf").tensors().size(), 22u);
}

TEST_F(SplitGguf, NamesThatOnlyLookAlikeAreWholeFiles) {
  for (const char* name : {"a-00004-of-00003.gguf", "a-00000-of-00003.gguf", "a-0001-of-00003.gguf",
                           "a-00001-of-0000x.gguf", "a-00001_of-00003.gguf", "-00001-of-00003.ggug"}) {
    fs::copy_file(kSamples / "whole.gguf", folder_ / name);
    EXPECT_EQ(Gguf::open(folder_ / name).tensors().size(), 22u) << name;
  }
}

TEST_F(SplitGguf, ACutPartIsNamed) {
  fs::resize_file(folder_ / part_name(2), 2000);
  expect_says(refusal(), part_name(2) + ": tensor '");
}

TEST(GgufOpen, MissingFilesAndFoldersAreNamed) {
  const TemporaryFolder folder;
  expect_says(error_of([&] { Gguf::open(folder / "absent.gguf"); }),
              (folder / "absent.gguf").string() + ": cannot open");
  expect_says(error_of([&] { Gguf::open(folder.path()); }), "is a directory");
}

}  // namespace
}  // namespace minke

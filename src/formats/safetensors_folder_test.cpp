#include <gtest/gtest.h>

#include "formats/safetensors.h"
#include "formats/test_files.h"

namespace minke {
namespace {

const fs::path kModels = fs::path(MINKE_TESTS_DIR) / "golden/models";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kShards[] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};

TEST(SafetensorsFolder, ReadsOneFile) {
  const Safetensors model = Safetensors::open_folder(kModels / "deepseek_v3_fp8");
  EXPECT_EQ(model.path(), kModels / "deepseek_v3_fp8/model.safetensors");
  int scaled = 0;
  for (const TensorView& tensor : model.tensors()) {
    if (tensor.format != Format::f8_e4m3 || tensor.dtype != DType::weights) continue;
    const TensorView* scale = model.tensor(tensor.name + "_scale_inv");
    ASSERT_TRUE(scale) << tensor.name;
    for (size_t i = 0; i < 2; ++i) EXPECT_EQ(scale->shape[i], (tensor.shape[i] + 127) / 128) << tensor.name;
    ++scaled;
  }
  EXPECT_GT(scaled, 10);
}

TEST(SafetensorsFolder, ReadsShards) {
  const Safetensors model = Safetensors::open_folder(kModels / "deepseek_v3");
  size_t tensors = 0;
  for (const char* shard : kShards) {
    const Safetensors part = Safetensors::open(kModels / "deepseek_v3" / shard);
    tensors += part.tensors().size();
    for (const TensorView& expected : part.tensors()) {
      const TensorView* found = model.tensor(expected.name);
      ASSERT_TRUE(found) << expected.name;
      EXPECT_EQ(found->describe(), expected.describe());
      EXPECT_EQ(as_text(found->bytes), as_text(expected.bytes));
    }
  }
  EXPECT_EQ(model.tensors().size(), tensors);
}

class SpoiltFolder : public testing::Test {
 protected:
  TemporaryFolder folder_;
  void SetUp() override {
    for (const char* file : {kIndex, kShards[0], kShards[1]})
      fs::copy_file(kModels / "deepseek_v3" / file, folder_ / file);
  }
  std::string refusal() {
    return error_of([&] { Safetensors::open_folder(folder_.path()); });
  }
  void replace_in_index(std::string_view what, std::string_view with) {
    std::string index = read_file(folder_ / kIndex);
    const size_t at = index.find(what);
    ASSERT_NE(at, index.npos) << what;
    write_text(folder_ / kIndex, index.replace(at, what.size(), with));
  }
};

TEST_F(SpoiltFolder, AMissingShardIsNamed) {
  fs::remove(folder_ / kShards[1]);
  expect_says(refusal(),
              (folder_ / kShards[1]).string() + ": this shard, named in " + kIndex + ", is missing");
}

TEST_F(SpoiltFolder, ACutShardIsNamed) {
  fs::resize_file(folder_ / kShards[0], 200000);
  expect_says(refusal(), (folder_ / kShards[0]).string() + ": tensor '");
}

TEST_F(SpoiltFolder, ATensorThatIsNotInItsShardIsNamed) {
  replace_in_index("\"lm_head.weight\"", "\"lm_foot.weight\"");
  expect_says(refusal(), "lacks tensor 'lm_foot.weight', which model.safetensors.index.json places there");
}

TEST_F(SpoiltFolder, ATensorInAnotherShardIsNamed) {
  const std::string index = read_file(folder_ / kIndex);
  const size_t at = index.find(kShards[0]);
  replace_in_index(kShards[0], kShards[1]);
  ASSERT_NE(at, index.npos);
  expect_says(refusal(), "which model.safetensors.index.json ");
}

TEST_F(SpoiltFolder, ATensorTheIndexDoesNotKnowIsNamed) {
  write_text(folder_ / kIndex,
             fmt::format(R"({{"weight_map":{{"model.embed_tokens.weight":"{}"}}}})", kShards[0]));
  const std::string text = refusal();
  expect_says(text, (folder_ / kShards[0]).string() + ": holds tensor '");
  expect_says(text, "does not place there (index and shards must be of one model");
}

TEST_F(SpoiltFolder, NamesMustStayInTheFolder) {
  for (const char* name :
       {"../model-00001-of-00002.safetensors", "/etc/passwd", "a\\\\b", "", ".", "..", "a\\u0000b"}) {
    write_text(folder_ / kIndex, fmt::format(R"({{"weight_map":{{"t":"{}"}}}})", name));
    expect_says(refusal(), "weight_map of tensor 't': names '");
  }
}

TEST_F(SpoiltFolder, TheIndexIsAMapOfFiles) {
  const auto says = [&](std::string_view index, std::string_view what) {
    write_text(folder_ / kIndex, index);
    const std::string text = refusal();
    expect_says(text, (folder_ / kIndex).string());
    expect_says(text, what);
  };
  says("", "JSON");
  says("{}", "missing key 'weight_map'");
  says(R"({"weight_map":[]})", "expected object");
  says(R"({"weight_map":{}})", "names no tensor");
  says(R"({"weight_map":{"t":7}})", "tensor 't': is integer, a file name is needed");
  says(R"({"weight_map":{"t":"a","t":"b"}})", "'t' is repeated");
  says(R"({"a":[[[[[[[[[]]]]]]]]]})", "JSON");
}

TEST_F(SpoiltFolder, TwoSetsOfWeightsAreAmbiguous) {
  fs::copy_file(folder_ / kShards[0], folder_ / "model.safetensors");
  expect_says(refusal(), "holds model.safetensors, and model.safetensors.index.json for other files");
}

TEST_F(SpoiltFolder, ASpoiltIndexDoesNoHarm) {
  const std::string index = read_file(folder_ / kIndex);
  const auto use = [&](Bytes spoilt) {
    write_text(folder_ / kIndex, as_text(spoilt));
    try {
      Safetensors::open_folder(folder_.path());
    } catch (const Error& e) {
      EXPECT_TRUE(e.subject().starts_with(folder_.path().string())) << e.what();
      throw e.within("sample");
    }
  };
  cut_everywhere(index, 64, use);
  EXPECT_GT(turn_bits(index, index.size(), 200, use), 100);
}

TEST(SafetensorsFolder, FoldersWithoutWeightsSayWhatToDo) {
  const TemporaryFolder folder;
  const auto refusal = [&] { return error_of([&] { Safetensors::open_folder(folder.path()); }); };
  expect_says(refusal(),
              folder.path().string() + ": holds neither model.safetensors nor model.safetensors.index.json");
  write_text(folder / "pytorch_model.bin", "");
  expect_says(refusal(), "pytorch_model.bin is a PyTorch checkpoint: convert it to safetensors");
  write_text(folder / "r.safetensors", "");
  expect_says(refusal(), "r.safetensors needs model.safetensors.index.json beside it");
  fs::remove(folder / "pytorch_model.bin");
  fs::remove(folder / "r.safetensors");
  write_text(folder / "m.gguf", "");
  expect_says(refusal(), "to run the GGUF file, name it: " + (folder / "m.gguf").string());
  expect_says(error_of([&] { Safetensors::open_folder(folder / "absent"); }),
              "absent: cannot list the folder");
  expect_says(error_of([&] { Safetensors::open_folder(folder / "m.gguf"); }),
              "m.gguf: cannot list the folder");
}

}  // namespace
}  // namespace minke

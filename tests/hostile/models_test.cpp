// Every small file of every golden model, damaged: config.json, the index, the headers and data of the
// weights.

#include <cstring>

#include <gtest/gtest.h>

#include "base/error.h"
#include "damage.h"
#include "samples.h"

namespace minke {
namespace {

class HostileModel : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    copy_golden_model(GetParam(), folder_.path());
    use();
  }
  void use() const { use_model(load_model(folder_.path())); }
  Tally turn(const fs::path& file, std::pair<size_t, size_t> reach, int rounds) {
    return turn_bits_in_file(file, reach, rounds, folder_.path().string(), [&] { use(); });
  }
  std::vector<fs::path> files(std::string_view ending) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      if (entry.path().string().ends_with(ending)) found.push_back(entry.path());
    return found;
  }

  ScratchFolder folder_;
};

TEST_P(HostileModel, TurnedBitsOfTheConfig) {
  const fs::path config = folder_ / "config.json";
  const Tally tally = turn(config, {0, fs::file_size(config)}, hostile_rounds());
  EXPECT_GT(tally.refused, 0);
  use();
}

TEST_P(HostileModel, TurnedBitsOfHeaders) {
  for (const fs::path& file : files(".safetensors")) {
    uint64_t header = 0;
    std::memcpy(&header, read_file(file).data(), sizeof header);
    const Tally tally = turn(file, {0, header + sizeof header}, hostile_rounds());
    EXPECT_GT(tally.refused, 0) << file;
  }
  for (const fs::path& file : files(".index.json")) {
    const Tally tally = turn(file, {0, fs::file_size(file)}, hostile_rounds());
    EXPECT_GT(tally.refused, 0) << file;
  }
  use();
}

TEST_P(HostileModel, TurnedBitsOfWeights) {
  for (const fs::path& file : files(".safetensors")) {
    uint64_t header = 0;
    std::memcpy(&header, read_file(file).data(), sizeof header);
    turn(file, {header + sizeof header, fs::file_size(file)}, std::min(hostile_rounds(), 1000));
  }
  use();
}

TEST_P(HostileModel, CutsAreRefused) {
  for (const fs::path& file : files(".safetensors")) {
    const Tally tally = cut_file(file, 4096, folder_.path().string(), [&] { use(); });
    EXPECT_EQ(tally.taken, 0) << file;
  }
  for (const fs::path& file : files(".json")) {
    const Tally tally = cut_file(file, 16, folder_.path().string(), [&] { use(); });
    EXPECT_EQ(tally.taken, 0) << file;
  }
  use();
}

INSTANTIATE_TEST_SUITE_P(All, HostileModel,
                         testing::Values("deepseek_v2_lite", "deepseek_v3", "deepseek_v32", "deepseek_v3_fp8",
                                         "deepseek_v3_mtp", "llama", "llama4", "qwen2"),
                         [](const auto& p) { return std::string(p.param); });

}  // namespace
}  // namespace minke

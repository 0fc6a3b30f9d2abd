// A folder with adapters, damaged: its config, the header of its weights, and their data.

#include "model/adapters.h"

#include <cstring>

#include <gtest/gtest.h>

#include "base/error.h"
#include "damage.h"
#include "formats/safetensors.h"
#include "samples.h"

namespace minke {
namespace {

class HostileAdapters : public testing::Test {
 protected:
  void SetUp() override {
    Random random(2);
    const Config config = load_model(model_).config;
    std::vector<std::vector<float>> values;
    std::vector<TensorView> tensors;
    for (const AdaptedMatrix& m : adapted_matrices())
      for (int layer = 0; layer < config.layers; ++layer)
        for (const char letter : {'A', 'B'}) {
          const MatrixShape shape = shape_of(config, m);
          const int64_t rows = letter == 'A' ? 4 : shape.out, cols = letter == 'A' ? shape.in : 4;
          std::vector<float>& v = values.emplace_back(static_cast<size_t>(rows * cols));
          for (float& x : v) x = 0.1f * random.normal();
          tensors.push_back({.name = "base_model.model.model.layers." + std::to_string(layer) + "." +
                                     std::string(m.block) + "." + std::string(m.name) + ".lora_" + letter +
                                     ".weight",
                             .shape = {rows, cols}});
        }
    for (size_t i = 0; i < values.size(); ++i)
      tensors[i].bytes = {reinterpret_cast<const std::byte*>(values[i].data()), values[i].size() * 4};
    save_safetensors(weights_, tensors);
    folder_.write("adapter_config.json",
                  R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "use_rslora": true,
                      "target_modules": ["q_proj", "down_proj"], "lora_dropout": 0.0, "use_dora": false})");
    use();
  }
  void use() const {
    LoadOptions options;
    options.adapters = folder_.path();
    use_model(load_model(model_, options));
  }
  Tally turn(const fs::path& file, std::pair<size_t, size_t> reach) {
    return turn_bits_in_file(file, reach, hostile_rounds(), folder_.path().string(), [&] { use(); });
  }

  const fs::path model_ = kGoldenFolder / "models" / "llama";
  ScratchFolder folder_;
  const fs::path config_ = folder_ / "adapter_config.json", weights_ = folder_ / "adapter_model.safetensors";
};

TEST_F(HostileAdapters, TurnedBits) {
  EXPECT_GT(turn(config_, {0, fs::file_size(config_)}).refused, 0);
  uint64_t header = 0;
  std::memcpy(&header, read_file(weights_).data(), sizeof header);
  EXPECT_GT(turn(weights_, {0, header + sizeof header}).refused, 0);
  turn(weights_, {header + sizeof header, fs::file_size(weights_)});
  use();
}

TEST_F(HostileAdapters, CutsAreRefused) {
  EXPECT_EQ(cut_file(weights_, 1024, folder_.path().string(), [&] { use(); }).taken, 0);
  EXPECT_EQ(cut_file(config_, 16, folder_.path().string(), [&] { use(); }).taken, 0);
  use();
}

}  // namespace
}  // namespace minke

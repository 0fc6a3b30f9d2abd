// GGUF files, damaged: a small whole model, and the metadata of published ones where they are at hand.

#include <gtest/gtest.h>

#include "base/error.h"
#include "damage.h"
#include "model/architecture.h"
#include "samples.h"

namespace minke {
namespace {

void use(const fs::path& path) {
  const Model model = load_model(path);
  use_model(model);
  use_tokenizer(load_tokenizer(model));
}

class HostileGguf : public testing::Test {
 protected:
  void SetUp() override {
    path_ = folder_ / "small.gguf";
    write_small_gguf(path_);
    const Gguf gguf = Gguf::open(path_);
    const std::string whole = read_file(path_);
    data_begin_ = fs::file_size(path_);
    for (const TensorView& tensor : gguf.tensors())  // the first tensor's place, found again
      data_begin_ = std::min(data_begin_, whole.find(as_text(tensor.bytes)));
  }
  void use_it() const { use(path_); }

  ScratchFolder folder_;
  fs::path path_;
  size_t data_begin_ = 0;
};

TEST_F(HostileGguf, WholeItIsUsed) { use_it(); }

TEST_F(HostileGguf, TurnedBitsOfTheMetadata) {
  const Tally tally =
      turn_bits_in_file(path_, {0, data_begin_}, hostile_rounds(), path_.string(), [&] { use_it(); });
  EXPECT_GT(tally.refused, 0);
  use_it();
}

TEST_F(HostileGguf, TurnedBitsOfTheWeights) {
  turn_bits_in_file(path_, {data_begin_, fs::file_size(path_)}, std::min(hostile_rounds(), 1000),
                    path_.string(), [&] { use_it(); });
  use_it();
}

TEST_F(HostileGguf, CutsAreRefused) {
  EXPECT_EQ(cut_file(path_, 4096, path_.string(), [&] { use_it(); }).taken, 0);
  EXPECT_EQ(cut_file(path_, 509, path_.string(), [&] { use_it(); }).taken, 0);
  use_it();
}

// Where the list of tensors ends and the data begins, or is expected to.
size_t metadata_end(Bytes file) {
  size_t low = 0, high = file.size();
  const auto in_metadata = [&](size_t size) {  // a cut inside of it is told in other words
    try {
      Gguf::parse(file.first(size), "m");
      return false;
    } catch (const Error& e) {
      return std::string_view(e.what()).find("its data ends at byte") == std::string_view::npos;
    }
  };
  while (low + 1 < high) {
    const size_t middle = low + (high - low) / 2;
    (in_metadata(middle) ? low : high) = middle;
  }
  return high;
}

// Metadata, config and now and then the tokenizer; weights of this size are not run.
void use_metadata(Bytes bytes, bool tokenizer) {
  const Gguf gguf = Gguf::parse(bytes, "published");
  const Config config = config_from_gguf(gguf, {});
  EXPECT_GT(config.vocab, 0);
  if (tokenizer) use_tokenizer(Tokenizer::from_gguf(gguf));
}

class PublishedGguf : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    path_ = fs::path(MINKE_MODELS_DIR) / GetParam();
    if (!fs::exists(path_)) GTEST_SKIP() << path_.string() << " is not here (make test-real fetches it)";
  }
  fs::path path_;
};

TEST_P(PublishedGguf, TurnedBitsOfTheMetadata) {
  PrivateMap map(path_);
  const size_t end = metadata_end(map.bytes());
  ASSERT_GT(end, size_t{1} << 20);
  Random random(end);
  Tally tally;
  const int rounds = hostile_rounds();
  for (int i = 0; i < rounds; ++i) {
    // Half of them where the counts, types and sizes are: the strings of the vocabulary take most of the
    // rest.
    const auto bits = choose_bits(random, 0, i % 2 ? end : 8192);
    for (const auto& [byte, bit] : bits) map.turn(byte, bit);
    attempt([&] { use_metadata(map.bytes(), i % 50 == 0); }, "published", tally);
    for (const auto& [byte, bit] : bits) map.turn(byte, bit);
  }
  EXPECT_GT(tally.refused, 0);
}

TEST_P(PublishedGguf, CutsNameTheFirstTensorThatIsMissing) {
  const PrivateMap map(path_);
  const size_t end = metadata_end(map.bytes());
  Tally tally;
  const size_t step = hostile_rounds() >= 10000 ? 4096 : size_t{1} << 19;
  for (size_t size = 0; size < map.bytes().size(); size += step)
    attempt(
        [&] {
          try {
            Gguf::parse(map.bytes().first(size), "published");
          } catch (const Error& e) {
            const std::string_view what = e.what();
            const bool tensor =
                what.starts_with("published: tensor '") && what.find("its data ends at byte") != what.npos;
            EXPECT_EQ(tensor, size >= end) << e.what();
            throw;
          }
        },
        "published", tally);
  EXPECT_EQ(tally.taken, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, PublishedGguf,
                         testing::Values("SmolLM2-135M-Instruct.Q4_1.gguf",
                                         "r1-distill-qwen-7b.truncated.gguf"),
                         [](const auto& p) { return std::string(p.param).substr(0, 2); });

}  // namespace
}  // namespace minke

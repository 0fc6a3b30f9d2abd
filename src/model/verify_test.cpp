#include "model/verify.h"

#include "model/test_models.h"

namespace minke {
namespace {

// The comparison itself: a reference that differs is found, whatever differs.
class Altered : public testing::Test {
 protected:
  // The llama golden with one tensor replaced (or added).
  Safetensors with(TensorView replacement) {
    std::vector<TensorView> tensors;
    for (const TensorView& t : whole_.tensors())
      if (t.name != replacement.name) tensors.push_back(t);
    tensors.push_back(std::move(replacement));
    save_safetensors(folder_ / "altered.safetensors", tensors);
    return Safetensors::open(folder_ / "altered.safetensors");
  }
  std::vector<std::string> failing(const Safetensors& golden) {
    VerifyOptions options;
    options.threads = 1;
    std::vector<std::string> names;
    for (const Compared& c : verify(model_, golden, options))
      if (!c.ok()) names.push_back(c.name);
    return names;
  }
  std::vector<float> floats(std::string_view name) { return to_floats(*whole_.tensor(name)); }

  TemporaryFolder folder_;
  Model model_ = load_model(golden_folder("llama"));
  Safetensors whole_ = golden_tensors("llama");
};

TEST_F(Altered, OneValueIsFound) {
  std::vector<float> logits = floats("logits");
  logits[777] += 0.01f * *std::max_element(logits.begin(), logits.end());
  TensorView t = *whole_.tensor("logits");
  t.bytes = std::as_bytes(std::span(logits));
  EXPECT_EQ(failing(with(t)), std::vector<std::string>{"logits"});
}

TEST_F(Altered, InfinityOnOneSideIsFound) {
  std::vector<float> hidden = floats("hidden_01");
  hidden[5] = -INFINITY;
  TensorView t = *whole_.tensor("hidden_01");
  t.bytes = std::as_bytes(std::span(hidden));
  EXPECT_EQ(failing(with(t)), std::vector<std::string>{"hidden_01"});
}

TEST_F(Altered, NanInTheReferenceIsFound) {
  std::vector<float> hidden = floats("hidden_02");
  hidden[5] = NAN;
  TensorView t = *whole_.tensor("hidden_02");
  t.bytes = std::as_bytes(std::span(hidden));
  EXPECT_EQ(failing(with(t)), std::vector<std::string>{"hidden_02"});
}

TEST_F(Altered, AnotherShapeAndAnotherIdAreFound) {
  std::vector<int64_t> ids = to_integers(*whole_.tensor("greedy_ids"));
  ids.back() ^= 1;
  TensorView t = *whole_.tensor("greedy_ids");
  t.bytes = std::as_bytes(std::span(ids));
  EXPECT_EQ(failing(with(t)), std::vector<std::string>{"greedy_ids"});

  TensorView norm = *whole_.tensor("final_norm");
  norm.shape[0] -= 1;
  norm.bytes = norm.bytes.first(static_cast<size_t>(norm.count()) * sizeof(float));
  EXPECT_EQ(failing(with(norm)), std::vector<std::string>{"final_norm"});
}

TEST_F(Altered, TensorsNobodyKnowsAndIdsOutsideTheVocabularyAreErrors) {
  TensorView t = *whole_.tensor("final_norm");
  t.name = "final_nrom";
  const Safetensors misspelt = with(t);
  expect_says(error_of([&] { failing(misspelt); }), "final_nrom");

  std::vector<int64_t> ids = to_integers(*whole_.tensor("input_ids"));
  ids[3] = model_.config.vocab;
  TensorView input = *whole_.tensor("input_ids");
  input.bytes = std::as_bytes(std::span(ids));
  const Safetensors outside = with(input);
  expect_says(error_of([&] { failing(outside); }), "outside the vocabulary");
}

}  // namespace
}  // namespace minke

#include "model/placement.h"

#include <fstream>

#include "model/test_gguf.h"

namespace minke {
namespace {

std::vector<float> logits_of(const Model& model, int threads) {
  InstanceOptions o;
  o.limits.threads = threads;
  o.limits.rows = o.limits.logit_rows = 9;
  Instance instance(model, o);
  KvView view = reserved(instance, 20);
  Random random(7);
  std::vector<float> logits;
  for (const int count : {9, 1, 1}) {
    const std::vector<Token> tokens = random_tokens(random, model.config.vocab, count);
    const SequenceSlice slice{&view, 0, count, view.length, Want::all_logits};
    instance.forward({tokens, {&slice, 1}, {}});
    const State& s = instance.state();
    logits.insert(logits.end(), s.logits, s.logits + int64_t{count} * model.config.vocab);
  }
  return logits;
}

// A copy of a golden model, whose files may be damaged.
fs::path copy_of(const char* name, const TemporaryFolder& folder) {
  fs::copy(golden_folder(name), folder / name);
  return folder / name;
}

// Turns every byte of the tensors on the disk, but for those of the embedding.
void damage(const Model& model) {
  for (const MappedFile& file : files_of(model)) {
    std::fstream stream(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    const Bytes all = file.bytes();
    for (const TensorView& t : tensors_of(model)) {
      if (t.bytes.data() < all.data() || t.bytes.data() >= all.data() + all.size()) continue;
      if (t.bytes.data() == model.weights.embed.data) continue;
      stream.seekp(t.bytes.data() - all.data());
      const std::string other(t.bytes.size(), '\x55');
      stream.write(other.data(), static_cast<std::streamsize>(other.size()));
    }
  }
}

PlacementOptions options_for(Numa numa, int threads) {
  PlacementOptions o;
  o.numa = numa;
  o.threads = threads;
  return o;
}

// The bits of one node, from copies alone: what lies in the files is no longer looked at.
TEST(Placement, SpreadAndReplicatedWeightsGiveTheSameBits) {
  if (!Topology::known()) GTEST_SKIP() << "built without hwloc";
  for (const char* name : kGoldenModels) {
    for (const Numa numa : {Numa::spread, Numa::replicate}) {
      const TemporaryFolder folder;
      Model model = load_model(copy_of(name, folder));
      const std::vector<float> plain = logits_of(model, 3);
      const auto notes =
          place_weights(model, options_for(numa, 3), Topology::synthetic("numa:2 core:2 pu:1"));
      EXPECT_EQ(model.placement.node_of_thread, (std::vector<int>{0, 1, 1})) << name;
      if (!model.config.tied) damage(model);
      EXPECT_TRUE(logits_of(model, 3) == plain) << name;
      // Fewer threads than were planned for stay within the plan; more go without.
      EXPECT_TRUE(logits_of(model, 1) == plain) << name;
      ASSERT_FALSE(notes.empty());
      expect_says(notes.front(), "would not place memory");  // on nodes that do not exist
    }
  }
}

TEST(Placement, ReplicasAreCounted) {
  if (!Topology::known()) GTEST_SKIP() << "built without hwloc";
  Model model = load_model(golden_folder("llama"));
  int64_t files = 0;
  for (const MappedFile& file : files_of(model)) files += static_cast<int64_t>(file.bytes().size());
  int64_t last = 0, all = 0;
  PlacementOptions o = options_for(Numa::replicate, 4);
  o.progress = [&](int64_t done, int64_t total) {
    EXPECT_GE(done, last);
    last = done;
    all = total;
  };
  place_weights(model, o, Topology::synthetic("numa:3 core:2 pu:1"));
  EXPECT_EQ(last, 3 * files);
  EXPECT_EQ(all, 3 * files);
  EXPECT_EQ(model.placement.copied, 3 * files);
  EXPECT_EQ(model.placement.replaced, files);
  const Residence r = residence_of(model);
  EXPECT_EQ(r.bytes, 3 * files);
  EXPECT_GE(r.present, 3 * files);
  expect_says(residence_text(model), "in 3 copies");
}

TEST(Placement, OneNodeChangesNothing) {
  if (!Topology::known()) GTEST_SKIP() << "built without hwloc";
  Model model = load_model(golden_folder("llama"));
  const auto notes =
      place_weights(model, options_for(Numa::replicate, 4), Topology::synthetic("pack:1 core:2 pu:1"));
  ASSERT_EQ(notes.size(), 1u);
  expect_says(notes[0], "one NUMA node");
  EXPECT_EQ(model.placement.copied, 0);
  EXPECT_EQ(model.placement.machine, nullptr);
  EXPECT_TRUE(model.placement.node_of_thread.empty());
}

TEST(Placement, SaysWhereHwlocIsMissing) {
  if (Topology::known()) GTEST_SKIP() << "built with hwloc";
  Model model = load_model(golden_folder("llama"));
  expect_says(error_of([&] { place_weights(model, options_for(Numa::spread, 2)); }), "built without hwloc");
}

TEST(Placement, WithoutFlagsNothingIsDone) {
  Model model = load_model(golden_folder("llama"));
  EXPECT_TRUE(place_weights(model, {}).empty());
  EXPECT_EQ(model.placement.copied + model.placement.locked, 0);
}

// A llama whose matrices fill several huge pages.
fs::path large_model(const TemporaryFolder& folder) {
  const HfFolder golden = HfFolder::open(golden_folder("llama"));
  fs::copy(golden_folder("llama"), folder / "large");
  std::vector<TensorView> tensors(golden.weights.tensors().begin(), golden.weights.tensors().end());
  TensorView extra{"extra", DType::weights, Format::f32, {3 << 20}, {}};
  static const std::vector<float> values(3 << 20, 0.5f);
  extra.bytes = std::as_bytes(std::span(values));
  tensors.push_back(extra);
  save_safetensors(folder / "large/model.safetensors", tensors);
  return folder / "large";
}

TEST(Placement, HugePagesAndLocksKeepTheBits) {
  const TemporaryFolder folder;
  const fs::path path = large_model(folder);
  LoadOptions load;
  load.allowed = {"extra"};
  for (const HugePages pages : {HugePages::off, HugePages::automatic, HugePages::on}) {
    load.huge_pages = pages;
    Model model = load_model(path, load);
    const std::vector<float> plain = logits_of(model, 2);
    PlacementOptions o;
    o.huge_pages = pages;
    o.lock = true;
    const auto notes = place_weights(model, o);
    EXPECT_TRUE(logits_of(model, 2) == plain);
    const Residence r = residence_of(model);
    EXPECT_GE(r.locked, r.bytes / 4096 * 4096);
    expect_says(residence_text(model), "locked");
    if (pages == HugePages::off) {
      EXPECT_LT(r.huge(), r.bytes / 2);  // pages touched before the wish was known
    }
    if (pages == HugePages::on) {
      EXPECT_TRUE(r.huge() > r.bytes / 2 || !notes.empty()) << r.huge();
    }
    EXPECT_EQ(model.placement.locked + model.placement.replaced, r.bytes);
  }
}

}  // namespace
}  // namespace minke

#include "plan/memory.h"

#include <rapidcheck.h>

#include "base/memory.h"
#include "model/random_config.h"
#include "model/test_models.h"

namespace minke {
namespace {

// What is announced is what is used: the plan's numbers are those of the parts that are made.
TEST(MemoryPlan, AnnouncesWhatAnInstanceTakes) {
  EXPECT_TRUE(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>());
    const Config config = random_config(random, kArchitectureNames[random.below(6)]);
    RandomModel model(config, 1, Format::f32);
    if (random.below(2)) model.add_adapters(random);
    InstanceOptions o;
    o.limits.rows = between(random, 1, 64);
    o.limits.logit_rows = between(random, 1, o.limits.rows);
    o.limits.sequences = between(random, 1, 5);
    o.limits.context = between(random, 1, 1000);
    o.limits.threads = between(random, 1, 3);
    o.limits.kv = kKvFormats[random.below(kKvFormats.size())];
    o.limits.inspect = config.indexer && random.below(2);
    o.limits.mtp = random.below(2);
    o.round_activations = random.below(2);
    Instance instance(model.model(), o);
    const MemoryPlan plan = plan_memory(model.model(), resolved_limits(model.model(), o));
    RC_ASSERT(plan.state == instance.state().memory.size());
    RC_ASSERT(plan.cache == instance.kv().pages() * page_bytes(kv_layout(instance.config(), o.limits.kv)));
    RC_ASSERT(plan.cache >= cache_bytes_per_token(instance.config(), o.limits.kv) * o.limits.context);
    RC_ASSERT(plan.total() >= plan.state + plan.cache);
  }));
}

TEST(MemoryPlan, CountsTheFilesAndWhatIsMade) {
  for (const char* name : kGoldenModels) {
    const Model model = load_model(golden_folder(name));
    const MemoryPlan plan = plan_memory(model, resolved_limits(model, {}));
    EXPECT_GT(plan.weights, 100'000) << name;
    EXPECT_LT(plan.weights, 2'000'000) << name;
    EXPECT_EQ(plan.made, model.made_bytes) << name;
  }
}

TEST(MemoryPlan, CountsCopiesInPlaceOfFilesAndWhatIsLocked) {
  Model model = load_model(golden_folder("llama"));
  const Limits limits = resolved_limits(model, {});
  const MemoryPlan mapped = plan_memory(model, limits);
  EXPECT_EQ(mapped.copied, 0);
  model.placement.copied = 2 * mapped.weights;
  model.placement.replaced = mapped.weights;
  const MemoryPlan copied = plan_memory(model, limits);
  EXPECT_EQ(copied.weights, 0);
  EXPECT_EQ(copied.total(), mapped.total() + mapped.weights);
  model.placement.copied = machine_memory();
  expect_says(error_of([&] { require_memory(model, {}); }), "are needed");
  model.placement = {};
  require_memory(model, {});
}

TEST(MemoryPlan, SaysWhichContextWouldFit) {
  const Model model = load_model(golden_folder("llama"));
  InstanceOptions o;
  require_memory(model, o);    // the default fits
  o.limits.context = 1 << 30;  // 3 layers of 128 bytes a token: 400 GB
  const std::string text = error_of([&] { require_memory(model, o); });
  expect_says(text, "a context of 1073741824 tokens");
  expect_says(text, "would fit");
  // The one it names does.
  const size_t at = text.find("--ctx ");
  ASSERT_NE(at, std::string::npos) << text;
  o.limits.context = std::stoi(text.substr(at + 6));
  require_memory(model, o);
}

}  // namespace
}  // namespace minke

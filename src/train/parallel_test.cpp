#include "train/parallel.h"

#include <map>

#include "train/cost.h"
#include "train/gradient_sum.h"
#include "train/stage.h"
#include "train/test_train.h"

namespace minke {
namespace {

constexpr const char* kRun = R"({"model": {"config": {
  "architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 32, "intermediate_size": 48,
  "moe_intermediate_size": 16, "num_hidden_layers": 3, "first_k_dense_replace": 1, "n_routed_experts": 8,
  "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc",
  "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5, "num_attention_heads": 4,
  "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
  "qk_rope_head_dim": 8, "v_head_dim": 8, "num_nextn_predict_layers": 1, "vocab_size": 41,
  "rms_norm_eps": 1e-6, "rope_theta": 10000, "max_position_embeddings": 64}},
  "output": "out", "stages": [{"name": "main", "data": "none", "steps": 4, "sequence": 24, "batch": 8,
  "pass": 2, "rate": 0.01}]})";

RunConfig run_config(const ParallelConfig& parallel) {
  RunConfig run = parse_run_config(parse_json(kRun), "config.json");
  run.parallel = parallel;
  return run;
}

// A rank's groups with nothing behind them: who has what follows from numbers alone.
RankGroups groups_of(const RankPlace& place) {
  return {place,
          {place.rank, place.ranks},
          {place.expert_rank(), place.parallel.experts},
          {place.replica(), place.replicas()}};
}

struct Case {
  int ranks;
  ParallelConfig parallel;
};
const Case kCases[] = {{1, {}},     {2, {}},     {4, {1, 1}}, {3, {1, 1}},
                       {2, {0, 2}}, {8, {1, 2}}, {8, {0, 8}}, {6, {1, 2}}};

TEST(Parallel, EveryNumberIsOneRanksToAnswerFor) {
  for (const Case& test : kCases) {
    const RunConfig run = run_config(test.parallel);
    const StageConfig& stage = run.stages[0];
    std::map<std::pair<int, int64_t>, int> answers;  // (weight, number): ranks
    int64_t all = 0;
    for (int rank = 0; rank < test.ranks; ++rank) {
      const RankPlace place{rank, test.ranks, test.parallel};
      const ChosenWeights chosen = both(trained_weights(stage), held_weights(stage.config, place));
      const Parameters gradients(stage.config, chosen),
          none(stage.config, [](const WeightSlot&) { return false; });
      const RankGroups groups = groups_of(place);
      const GradientSum sum(groups, gradient_buckets(stage.config, chosen), gradients.values());
      const auto tensors = trained_tensors(stage.config, gradients.weights(), gradients.weights(),
                                           none.weights(), none.weights());
      for (const TrainedTensor& part : sum.own(tensors))
        for (int64_t i = 0; i < part.count(); ++i) ++answers[{part.slot, part.offset + i}];
    }
    for_each_weight(stage.config, [&](const WeightSlot& slot) {
      if (trained_weights(stage)(slot)) all += slot.count();
    });
    EXPECT_EQ(static_cast<int64_t>(answers.size()), all) << test.ranks;
    for (const auto& [number, ranks] : answers) ASSERT_EQ(ranks, 1) << test.ranks;
  }
}

TEST(Parallel, DividedMemoryIsSmallerByWhatIsDivided) {
  const RunMemory whole = run_memory(run_config({}), 1),
                  zero = run_memory(run_config({1, 1}), 1, {0, 4, {1, 1}}),
                  experts = run_memory(run_config({0, 8}), 1, {0, 8, {0, 8}});
  EXPECT_EQ(zero.weights, whole.weights);
  EXPECT_NEAR(static_cast<double>(whole.moments) / static_cast<double>(zero.moments), 4, 0.3);
  int64_t of_experts = 0;
  for_each_weight(run_config({}).config, [&](const WeightSlot& slot) {
    if (slot.expert >= 0) of_experts += padded_count(slot) * 4;
  });
  EXPECT_EQ(experts.weights, whole.weights - of_experts * 7 / 8);
  EXPECT_EQ(step_traffic(run_config({}), run_config({}).stages[0], {0, 1, {}}), 0);
}

TEST(Parallel, WhatDoesNotDivideIsNamed) {
  const auto says = [](const ParallelConfig& parallel, int ranks) {
    return error_of([&] { require_divisible(run_config(parallel), ranks); });
  };
  expect_says(says({}, 3), "8 sequences of step 1 of stage 'main' do not divide over 3 ranks");
  expect_says(says({0, 3}, 6), "8 experts do not divide over 3 ranks");
  expect_says(says({0, 4}, 2), "2 ranks are no groups of 4");
  expect_says(says({0, 2}, 1), "mpirun or srun starts several");
  require_divisible(run_config({1, 4}), 8);
  RunConfig ramp = run_config({});
  ramp.stages[0].batch.first = 2;
  ramp.stages[0].batch.ramp = 3;
  ramp.stages[0].batch.multiple = 2;
  expect_says(error_of([&] { require_divisible(ramp, 4); }), "2 sequences of step 1");
  require_divisible(ramp, 2);
}

}  // namespace
}  // namespace minke

#include "train/loop.h"

#include <chrono>
#include <csignal>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "formats/test_files.h"
#include "train/cost.h"
#include "train/save.h"
#include "train/shards.h"
#include "train/test_train.h"

namespace minke {
namespace {

constexpr const char* kLlama =
    R"("architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48,
  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 40,
  "rms_norm_eps": 1e-5, "rope_theta": 10000, "max_position_embeddings": 64, "tie_word_embeddings": true)";
constexpr const char* kDeepSeek = R"("architectures": ["DeepseekV32ForCausalLM"], "hidden_size": 32,
  "intermediate_size": 48, "moe_intermediate_size": 16, "num_hidden_layers": 2, "first_k_dense_replace": 1,
  "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
  "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5,
  "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16,
  "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "index_n_heads": 4, "index_head_dim": 16,
  "index_topk": 6, "num_nextn_predict_layers": 1, "vocab_size": 40, "rms_norm_eps": 1e-6, "rope_theta": 10000,
  "max_position_embeddings": 64)";

RunConfig run_config(const TemporaryFolder& folder, const std::string& model, const std::string& stages,
                     const std::string& more = {}) {
  const std::string text = fmt::format(
      R"({{"model": {{"config": {{{}}}, "deviation": 0.05}}, "output": "out", "precision": "f32", "format": "f32",
          "checkpoint_steps": 4, {} "stages": [{}]}})",
      model, more, stages);
  return parse_run_config(parse_json(text), folder / "config.json");
}

std::string stage(const std::string& more, int steps = 12) {
  return fmt::format(R"({{"name": "main", "data": "none", "steps": {}, "sequence": 24, "batch": 4, "pass": 2,
                         "rate": 0.01, "warmup": 3, "final_rate": 0.001 {}}})",
                     steps, more);
}

// Sequences that can be learned: each token is the one before plus 3. Those of the step after `strange`
// others are not so.
RunHooks hooks(int64_t strange = -1) {
  RunHooks h;
  h.data = [strange](const RunConfig& run, const StageConfig& s) -> ReadSequence {
    return
        [vocab = run.config.vocab, length = s.sequence, strange](int64_t seen, int ahead, TrainBatch& batch) {
          Random random(5, static_cast<uint64_t>(seen));
          std::vector<Token> tokens;
          for (int i = 0; i < length + ahead; ++i)
            tokens.push_back(seen / 4 == strange || i == 0
                                 ? static_cast<Token>(random.below(static_cast<uint64_t>(vocab)))
                                 : (tokens.back() + 3) % vocab);
          const std::vector<uint8_t> loss(tokens.size(), 1);
          add_sequence(batch, length, tokens, std::vector<int32_t>{0, length / 2}, loss);
        };
  };
  return h;
}

struct Machine {
  explicit Machine(int threads = 2) : pool(threads) {}
  ThreadPool pool;
  Context ctx{pool, kernels_for(supported_isas().back()), Comm{}};
};

std::string saved_weights(const RunConfig& run) {
  return read_file(run.output / "model" / "model.safetensors");
}

TEST(Loop, LearnsAndSavesWhatOtherProgramsRead) {
  for (const char* model : {kLlama, kDeepSeek}) {
    const TemporaryFolder folder;
    const RunConfig run = run_config(folder, model, stage("", 30));
    double first = 0, last = 0;
    RunHooks h = hooks();
    h.progress = [&](const Progressed& p) { (p.number == 1 ? first : last) = p.report->losses.language; };
    Machine m;
    ASSERT_EQ(train(m.ctx, run, h, false), Outcome::done);
    EXPECT_NEAR(first, std::log(40), 0.5);
    EXPECT_LT(last, first / 2);
    const Model saved = load_model(run.output / "model");
    EXPECT_EQ(saved.config.dim, 32);
    std::string log = read_file(log_file(run));
    EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 30);
  }
}

TEST(Loop, TrainsOnTokenShardsAndNamesWhatIsWrongWithThem) {
  const TemporaryFolder folder;
  const RunConfig run = run_config(folder, kDeepSeek, stage(R"(, "evaluate_steps": 8)", 20));
  RunHooks h;
  std::vector<std::string> said;
  h.say = [&](const std::string& text) { said.push_back(text); };
  h.data = shard_sequences;
  double last = 0;
  h.progress = [&](const Progressed& p) { last = p.report->losses.language; };
  Machine m;
  expect_says(error_of([&] { train(m.ctx, run, h, false); }), (folder / "none").string());

  ShardContent content;
  for (int document = 0; document < 60; ++document) {
    std::vector<Token> tokens = {document % 40};
    while (tokens.size() < 30) tokens.push_back((tokens.back() + 3) % 40);
    content.add(tokens);
  }
  fs::create_directories(folder / "none");
  ShardSet set;
  set.vocab = 50;
  write_shard(folder / "none" / "train-00000.tokens", set, 0, content);
  expect_says(error_of([&] { train(m.ctx, run, h, true); }), "50");  // the model has fewer
  set.vocab = 40;
  write_shard(folder / "none" / "train-00000.tokens", set, 0, content);
  write_shard(folder / "none" / "val-00000.tokens", set, 0, content);
  h.held_out = held_out_shards;
  ASSERT_EQ(train(m.ctx, run, h, true), Outcome::done);
  EXPECT_LT(last, 0.8 * std::log(40));
  ASSERT_GE(said.size(), 3u);
  expect_says(said[0], "step 8: held-out loss");
  expect_says(said.back(), "step 20: held-out loss");
}

TEST(Loop, StoppedAnywhereAndResumedItEndsWithTheSameBits) {
  for (const char* model : {kLlama, kDeepSeek}) {
    const std::string stages = stage(R"(, "batch_first": 2, "batch_ramp": 6)") + ", " +
                               stage(R"(, "model": {"rope_theta": 20000})", 5);
    const TemporaryFolder whole_folder;
    const RunConfig whole = run_config(whole_folder, model, stages);
    Machine m;
    ASSERT_EQ(train(m.ctx, whole, hooks(), false), Outcome::done);
    for (const int64_t every : {1, 3, 7}) {
      const TemporaryFolder folder;
      const RunConfig run = run_config(folder, model, stages);
      RunHooks h = hooks();
      int64_t steps = 0;
      h.progress = [&](const Progressed&) { ++steps; };
      h.stopped = [&] { return steps % every == 0; };
      int rounds = 0;
      const auto round = [&] {  // on other threads each time
        Machine other(1 + rounds % 3);
        return train(other.ctx, run, h, rounds > 0);
      };
      while (round() == Outcome::stopped) ASSERT_LT(++rounds, 40);
      EXPECT_GT(rounds, 1);
      EXPECT_EQ(saved_weights(run), saved_weights(whole)) << every;
      std::string log = read_file(log_file(run));
      EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 17);
    }
  }
}

TEST(Loop, MuonKeepsOneMomentAndResumesToTheSameBits) {
  const TemporaryFolder whole_folder, folder;
  const std::string stages = stage(R"(, "optimizer": "muon")", 8);
  const RunConfig whole = run_config(whole_folder, kDeepSeek, stages),
                  run = run_config(folder, kDeepSeek, stages),
                  adam = run_config(folder, kDeepSeek, stage("", 8));
  Machine m;
  ASSERT_EQ(train(m.ctx, whole, hooks(), false), Outcome::done);
  RunHooks h = hooks();
  int64_t steps = 0;
  h.stopped = [&] { return ++steps == 3; };
  ASSERT_EQ(train(m.ctx, run, h, false), Outcome::stopped);
  const Safetensors checkpoint = Safetensors::open(newest_checkpoint(checkpoint_folder(run)).value());
  int64_t vectors = 0;  // numbers that AdamW moves
  std::vector<MatrixSize> matrices;
  for_each_weight(run.config, [&](const WeightSlot& slot) {
    if (is_hidden_matrix(slot))
      matrices.push_back({slot.rows, slot.cols});
    else if (slot.role != Role::router_bias)
      vectors += slot.count();
  });
  const auto numbers = [&](const char* name) { return checkpoint.tensor(name)->shape.at(0); };
  EXPECT_GE(numbers("second_moments"), vectors);
  EXPECT_LT(numbers("second_moments"), numbers("first_moments") / 2);
  EXPECT_LT(run_memory(run, 2).moments - muon_bytes(matrices), run_memory(adam, 2).moments);
  ASSERT_EQ(train(m.ctx, run, hooks(), true), Outcome::done);
  EXPECT_EQ(saved_weights(run), saved_weights(whole));
}

TEST(Loop, KilledAtRandomMomentsItEndsWithTheSameBits) {
  const TemporaryFolder whole_folder, folder;
  const RunConfig whole = run_config(whole_folder, kDeepSeek, stage("", 40)),
                  run = run_config(folder, kDeepSeek, stage("", 40));
  const auto in_child = [](const RunConfig& config) {
    const pid_t child = ::fork();
    if (child == 0) {
      int code = 1;
      try {
        Machine m;
        code = train(m.ctx, config, hooks(), true) == Outcome::done ? 0 : 2;
      } catch (const Error& e) {
        fmt::print(stderr, "{}\n", e.what());
      }
      ::_exit(code);
    }
    return child;
  };
  int status = 0;
  const auto start = std::chrono::steady_clock::now();
  ::waitpid(in_child(whole), &status, 0);
  ASSERT_EQ(status, 0);
  // A twelfth of what the whole takes at most, so that three kills come before the end on any machine, and on
  // one that was busier at first.
  const auto longest =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start) / 12;
  Random random(3);
  int killed = 0;
  for (bool done = false; !done;) {
    const pid_t child = in_child(run);
    if (killed < 20) {
      std::this_thread::sleep_for(longest * random.below(1000) / 1000);
      ::kill(child, SIGKILL);
    }
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    done = WIFEXITED(status);
    ASSERT_EQ(done ? WEXITSTATUS(status) : 0, 0);
    if (!done) ++killed;
  }
  EXPECT_GT(killed, 2);
  EXPECT_EQ(saved_weights(run), saved_weights(whole));
}

TEST(Loop, AJumpOfTheLossIsUndoneAndItsDataPassedOver) {
  const TemporaryFolder folder;
  const RunConfig run = run_config(folder, kLlama, stage("", 60), R"("spike": 1.5,)");
  RunHooks h = hooks(50);  // sequences of step 51
  std::vector<std::string> said;
  std::vector<int64_t> passed;
  h.say = [&](const std::string& text) { said.push_back(text); };
  h.progress = [&](const Progressed& p) {
    if (!p.report) passed.push_back(p.number);
  };
  Machine m;
  EXPECT_EQ(train(m.ctx, run, h, false), Outcome::done);
  ASSERT_EQ(said.size(), 1u);
  expect_says(said[0], "step 51: loss ");
  expect_says(said[0], "back to step 48");
  EXPECT_EQ(passed, std::vector<int64_t>{51});
  expect_says(read_file(log_file(run)), R"("rolled_back":51)");
}

TEST(Loop, DivergenceIsAnErrorThatSaysWhatMayHelp) {
  const TemporaryFolder folder;
  const RunConfig run = run_config(folder, kLlama, stage(R"(, "clip": 0)"));
  RunConfig wild = run;
  wild.stages[0].rate.rate = 1e30;
  Machine m;
  const std::string error = error_of([&] { train(m.ctx, wild, hooks(), false); });
  expect_says(error, "training diverges at step");
  expect_says(error, "lower \"rate\"");
}

TEST(Loop, ACheckpointOfAnotherRunIsRefusedAndNothingOverwritten) {
  const TemporaryFolder folder;
  Machine m;
  const RunConfig run = run_config(folder, kLlama, stage(""));
  train(m.ctx, run, hooks(), false);
  const std::string before = saved_weights(run);
  expect_says(error_of([&] { train(m.ctx, run, hooks(), false); }), "holds checkpoints of a run");
  const RunConfig other = run_config(folder, kLlama, stage(R"(, "weight_decay": 0.5)"));
  expect_says(error_of([&] { train(m.ctx, other, hooks(), true); }), "is of another run");
  EXPECT_EQ(saved_weights(run), before);
}

// Sequences in which each token is the one before plus `step`.
ReadSequence counting(const RunConfig& run, const StageConfig& s, int step) {
  return [vocab = run.config.vocab, length = s.sequence, step](int64_t seen, int ahead, TrainBatch& batch) {
    std::vector<Token> tokens;
    for (int i = 0; i < length + ahead; ++i) tokens.push_back(static_cast<Token>((seen + i * step) % vocab));
    add_sequence(batch, length, tokens, std::vector<int32_t>{0}, std::vector<uint8_t>(tokens.size(), 1));
  };
}

TEST(Loop, AdaptersAreHeldToWhatTheModelSaysOfOtherText) {
  const TemporaryFolder folder;
  Machine m;
  const RunConfig base = run_config(folder, kLlama, stage("", 30));
  ASSERT_EQ(train(m.ctx, base, hooks(), false), Outcome::done);
  const auto adapted = [&](const char* name, const char* weight) {
    return parse_run_config(
        parse_json(fmt::format(
            R"({{"model": {{"from": "out/model"}}, "output": "{}", "precision": "f32", "stages": [{}]}})",
            name,
            stage(fmt::format(R"(, "lora": {{"rank": 4, "targets": ["gate_proj", "up_proj", "down_proj"]}},
                                 "reference": {{"data": "other", "weight": {}, "batch": 3}})",
                              weight),
                  30))),
        folder / "config.json");
  };
  RunHooks h = hooks();
  h.data = [](const RunConfig& run, const StageConfig& s) { return counting(run, s, 5); };
  h.reference = [](const RunConfig& run, const StageConfig& s) { return counting(run, s, 3); };
  Losses first, last;
  h.progress = [&](const Progressed& p) { (p.number == 1 ? first : last) = p.report->losses; };
  const RunConfig free = adapted("free", "1e-9"), held = adapted("held", "1");
  ASSERT_EQ(train(m.ctx, free, h, false), Outcome::done);
  EXPECT_NEAR(first.reference, 0, 1e-6);  // fresh adapters do nothing
  const double drift = last.reference;
  EXPECT_GT(drift, 0.05);
  int steps = 0;
  h.stopped = [&] { return ++steps == 11; };
  ASSERT_EQ(train(m.ctx, held, h, false), Outcome::stopped);
  ASSERT_EQ(train(m.ctx, held, h, true), Outcome::done);
  EXPECT_LT(last.reference, drift / 2);
  EXPECT_LT(last.language, first.language);
  const Losses resumed = last;
  const RunConfig again = adapted("again", "1");
  h.stopped = {};
  ASSERT_EQ(train(m.ctx, again, h, false), Outcome::done);
  EXPECT_EQ(last.reference, resumed.reference);
}

TEST(Loop, AReferenceGoesWithAdapters) {
  const TemporaryFolder folder;
  expect_says(error_of([&] {
                run_config(folder, kLlama, stage(R"(, "reference": {"data": "other", "weight": 1})"));
              }),
              "goes with lora");
}

TEST(Loop, AnIndexerWarmsUpAloneAndThenTheModelTrainsSparsely) {
  const TemporaryFolder folder;
  const RunConfig run = run_config(folder, kDeepSeek,
                                   stage(R"(, "indexer": "none")", 6) + ", " +
                                       stage(R"(, "indexer": "warms_up")", 25) + ", " + stage("", 4));
  std::vector<double> losses;
  std::vector<float> trunk[2];
  RunHooks h = hooks();
  h.progress = [&](const Progressed& p) {
    if (p.position.stage == 1) {
      EXPECT_EQ(p.report->losses.language, 0);
      losses.push_back(p.report->losses.indexer);
    }
  };
  Machine m;
  ASSERT_EQ(train(m.ctx, run, h, false), Outcome::done);
  EXPECT_LT(losses.back(), 0.7 * losses.front());
}

TEST(Checkpoint, AFullDiskLosesNothingButTheNewest) {
  const TemporaryFolder folder;
  std::vector<float> numbers(50'000, 1.5f);
  const RunNumbers all{numbers, numbers, numbers};
  RunPosition position;
  position.step = 7;
  write_checkpoint(folder.path(), 7, "run", position, all, 1);
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100'000, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  position.step = 8;
  EXPECT_THROW(write_checkpoint(folder.path(), 8, "run", position, all, 1), Error);
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  const fs::path newest = newest_checkpoint(folder.path()).value();
  std::vector<float> read(numbers.size()), first(read), second(read);
  EXPECT_EQ(read_checkpoint(newest, "run", {read, first, second}).step, 7);
  EXPECT_EQ(read, numbers);
}

TEST(Checkpoint, DamageIsNamed) {
  const TemporaryFolder folder;
  std::vector<float> numbers(100, 1.5f);
  const RunNumbers all{numbers, numbers, numbers};
  write_checkpoint(folder.path(), 7, "run", {}, all, 1);
  const fs::path file = newest_checkpoint(folder.path()).value();
  std::string bytes = read_file(file), old = bytes;
  old[old.find('2', old.find("version"))] = '1';
  write_text(file, old);
  expect_says(error_of([&] { read_checkpoint(file, "run", all); }), "is of version 1, this program writes 2");
  bytes[bytes.size() - 3] ^= 1;
  write_text(file, bytes);
  const std::string error = error_of([&] { read_checkpoint(file, "run", all); });
  expect_says(error, "'second_moments' is damaged");
  expect_says(error, file.string());
  std::vector<float> few(10);
  expect_says(error_of([&] { read_checkpoint(file, "run", {few, few, few}); }), "of another size");
  write_text(file, bytes.substr(0, 100));
  EXPECT_THROW(read_position(file, "run"), Error);
}

}  // namespace
}  // namespace minke

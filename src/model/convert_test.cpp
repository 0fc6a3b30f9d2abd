// Folder to GGUF and back, on every golden model.

#include "model/convert.h"

#include <algorithm>

#include "model/architecture.h"
#include "model/test_gguf.h"

namespace minke {
namespace {

struct How {
  const char* types = "";
  bool mtp = true, overwrite = false;
  int64_t shard_bytes = 5'000'000'000;
};

LoadOptions dry() {
  LoadOptions options;
  options.dry = true;
  return options;
}

class Convert : public testing::Test {
 protected:
  Conversion plan(const Model& model, const How& how) {
    ConversionOptions options;
    if (*how.types) options.types = TypeRules::parse(how.types);
    options.mtp = how.mtp;
    options.shard_bytes = how.shard_bytes;
    return plan_conversion(model, options);
  }
  // Writes it and returns its path.
  fs::path convert(const fs::path& from, const std::string& to, const How& how = {}) {
    const fs::path target = folder_ / to;
    const Model model = load_model(from, dry());
    ConversionRun run;
    run.threads = 2;
    run.overwrite = how.overwrite;
    EXPECT_TRUE(write_conversion(model, plan(model, how), target, run).whole);
    EXPECT_FALSE(fs::exists(target.string() + ".unfinished"));
    return target;
  }
  // A golden model without what else lies in its folder.
  fs::path golden_copy(const std::string& name) {
    const fs::path to = folder_ / name;
    fs::create_directories(to);
    for (const auto& entry : fs::directory_iterator(golden_folder(name)))
      if (entry.path().filename() != "golden.safetensors")
        fs::copy(entry.path(), to / entry.path().filename());
    return to;
  }

  TemporaryFolder folder_;
};

Config comparable(Config config) {
  config.name.clear();
  return config;
}

// Of every position of 24 tokens, and of the MTP layer where there is one.
std::vector<float> logits_of(const Model& model) {
  const Config& c = model.config;
  constexpr int kTokens = 24;
  InstanceOptions options;
  options.limits.rows = options.limits.logit_rows = kTokens;
  options.limits.context = 64;
  options.limits.threads = 2;
  options.limits.mtp = true;
  Instance instance(model, options);
  KvView view = reserved(instance, kTokens);
  Random random(7);
  const std::vector<Token> tokens = random_tokens(random, c.vocab, kTokens);
  const SequenceSlice slice{&view, 0, kTokens, 0, Want::all_logits};
  instance.forward({tokens, {&slice, 1}, {}});
  const State& s = instance.state();
  std::vector<float> logits(s.logits, s.logits + kTokens * c.vocab);
  if (c.mtp_layers == 0) return logits;
  const std::vector<float> hidden(s.output, s.output + kTokens * c.dim);
  std::vector<GivenRow> given;
  for (int i = 0; i + 1 < kTokens; ++i) given.push_back({i, hidden.data() + i * c.dim});
  const SequenceSlice rest{&view, 0, kTokens - 1, 0, Want::all_logits};
  instance.forward_mtp({std::span(tokens).subspan(1), {&rest, 1}, given});
  logits.insert(logits.end(), s.logits, s.logits + (kTokens - 1) * c.vocab);
  return logits;
}

std::string bytes_of(const TensorView& t) { return std::string(as_text(t.bytes)); }

TEST_F(Convert, LogitsStayBitForBit) {
  for (const char* name : kGoldenModels) {
    const std::string type = std::string(name) == "deepseek_v3_fp8" ? "F32" : "";
    const fs::path gguf = convert(golden_folder(name), std::string(name) + ".gguf", {.types = type.c_str()});
    const Model before = load_model(golden_folder(name)), after = load_model(gguf);
    VerifyOptions options;
    options.threads = 2;
    expect_verified(after, golden_tensors(name), options, name);
    // FP8's products are another kind of sum than F32's.
    if (type.empty()) {
      EXPECT_EQ(logits_of(before), logits_of(after)) << name;
    }
  }
}

// What other converters make of the same folders, tensor by tensor.
TEST_F(Convert, TensorsAreThoseOfOtherConverters) {
  for (const char* name : {"llama", "qwen2", "llama4", "deepseek_v2_lite", "deepseek_v3", "deepseek_v32"}) {
    golden_as_gguf(name).write(folder_ / "other.gguf");
    const Gguf other = Gguf::open(folder_ / "other.gguf");
    const Gguf ours = Gguf::open(convert(golden_folder(name), std::string(name) + ".gguf"));
    EXPECT_EQ(ours.tensors().size(), other.tensors().size()) << name;
    for (const TensorView& t : other.tensors()) {
      const TensorView* same = ours.tensor(t.name);
      ASSERT_TRUE(same) << name << ' ' << t.name;
      EXPECT_EQ(same->shape, t.shape) << t.name;
      if (t.name == "rope_freqs.weight") continue;  // computed in other steps
      EXPECT_EQ(to_floats(*same), to_floats(t)) << name << ' ' << t.name;
    }
    for (const auto& [key, value] : other.metadata()) {
      if (std::holds_alternative<uint64_t>(value.value) || std::holds_alternative<double>(value.value)) {
        const bool usual =
            key == "llama4.attention.temperature_scale";  // not said where it is the released one
        EXPECT_TRUE(usual || ours.number(key) == other.number(key)) << name << ' ' << key;
      }
    }
  }
}

TEST_F(Convert, BackToTheSameFolder) {
  for (const char* name : kGoldenModels) {
    const bool fp8 = std::string(name) == "deepseek_v3_fp8";
    const char* type = fp8 ? "F32" : "";
    const fs::path back = convert(convert(golden_folder(name), std::string(name) + ".gguf", {.types = type}),
                                  std::string(name) + "-back", {.types = type, .shard_bytes = 200'000});
    const HfFolder before = HfFolder::open(golden_folder(name)), after = HfFolder::open(back);
    EXPECT_TRUE(fs::exists(back / "model.safetensors.index.json")) << name;
    const Model from = load_model(golden_folder(name)), to = load_model(back);
    EXPECT_EQ(comparable(from.config), comparable(to.config)) << name << read_file(back / "config.json");
    if (!fp8) {
      EXPECT_EQ(logits_of(from), logits_of(to)) << name;
    }
    for (const TensorView& t : before.weights.tensors()) {
      if (fp8 && t.name.ends_with("_scale_inv")) continue;
      const TensorView* same = after.weights.tensor(t.name);
      ASSERT_TRUE(same) << name << ' ' << t.name;
      if (fp8) continue;  // its values are compared by what the model computes
      EXPECT_EQ(same->describe(), t.describe()) << name << ' ' << t.name;
      EXPECT_TRUE(bytes_of(*same) == bytes_of(t)) << name << ' ' << t.name;
    }
    VerifyOptions options;
    options.threads = 2;
    expect_verified(to, golden_tensors(name), options, name);
  }
}

TEST_F(Convert, Fp8BecomesBf16) {
  const Gguf exact = Gguf::open(convert(golden_folder("deepseek_v3_fp8"), "f32.gguf", {.types = "F32"}));
  const Gguf gguf = Gguf::open(convert(golden_folder("deepseek_v3_fp8"), "bf16.gguf"));
  for (const TensorView& t : gguf.tensors()) {
    const std::vector<float> values = to_floats(t), wanted = to_floats(*exact.tensor(t.name));
    EXPECT_TRUE(t.format == Format::bf16 || !is_quantizable(t)) << t.name;
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], t.format == Format::bf16 ? bf16_to_f32(f32_to_bf16(wanted[i])) : wanted[i])
          << t.name;
  }
  EXPECT_GT(logits_of(load_model(folder_ / "bf16.gguf")).size(), 0u);
}

TEST_F(Convert, EveryTypeByRule) {
  const Gguf gguf = Gguf::open(convert(golden_folder("deepseek_v32"), "mix.gguf",
                                       {.types = "experts=Q4_0,attn=Q8_0,embd=Q6_K,default=F16"}));
  const auto type = [&](const char* tensor) { return std::string(type_name(*gguf.tensor(tensor))); };
  EXPECT_EQ(type("blk.1.ffn_up_exps.weight"), "Q4_0");
  EXPECT_EQ(type("blk.1.ffn_down_exps.weight"), "F32");  // rows of 16 fill no block
  EXPECT_EQ(type("blk.1.attn_q_a.weight"), "Q8_0");
  EXPECT_EQ(type("token_embd.weight"), "Q8_0");  // instead of Q6_K
  EXPECT_EQ(type("output.weight"), "F16");
  EXPECT_EQ(type("blk.1.ffn_gate_inp.weight"), "F32");
  EXPECT_EQ(type("blk.1.attn_norm.weight"), "F32");
  EXPECT_EQ(type("blk.1.exp_probs_b.bias"), "F32");
  EXPECT_GT(logits_of(load_model(folder_ / "mix.gguf")).size(), 0u);

  const Model model = load_model(golden_folder("llama"), dry());
  expect_says(error_of([&] { plan(model, {.types = "nose=F16"}); }), "nose");
  const Model back = load_model(folder_ / "mix.gguf", dry());
  expect_says(error_of([&] { plan(back, {.types = "Q8_0"}); }), "holds no Q8_0");
}

// In one step what convert and quantize give in two.
TEST_F(Convert, QuantisesAsQuantizeDoes) {
  for (const char* types : {"Q4_0", "experts=Q5_1,attn=Q8_0,default=IQ4_NL"}) {
    const Gguf whole = Gguf::open(convert(golden_folder("deepseek_v3"), "whole.gguf", {.overwrite = true}));
    write_quantized(whole, plan_quantize(whole, TypeRules::parse(types), false), folder_ / "two.gguf",
                    {.threads = 2, .overwrite = true, .progress = {}, .stopped = {}});
    const Gguf two = Gguf::open(folder_ / "two.gguf");
    const Gguf one =
        Gguf::open(convert(golden_folder("deepseek_v3"), "one.gguf", {.types = types, .overwrite = true}));
    EXPECT_EQ(one.integer("general.file_type"), two.integer("general.file_type"));
    for (const TensorView& t : two.tensors()) {
      ASSERT_TRUE(one.tensor(t.name)) << t.name;
      EXPECT_EQ(one.tensor(t.name)->describe(), t.describe()) << t.name;
      EXPECT_TRUE(bytes_of(*one.tensor(t.name)) == bytes_of(t)) << t.name;
    }
  }
}

TEST_F(Convert, ImportanceAsWithQuantize) {
  const Gguf whole = Gguf::open(convert(golden_folder("deepseek_v3"), "whole.gguf"));
  ImportanceMatrix matrix;
  Random random(3);
  for (const TensorView& t : whole.tensors()) {
    if (!is_quantizable(t)) continue;
    const int64_t cols = t.shape.back(), matrices = t.count() / cols / t.shape[t.shape.size() - 2];
    Importance& importance = matrix.tensors[t.name];
    importance.counts.assign(static_cast<size_t>(matrices), 10);
    for (int64_t i = 0; i < matrices * cols; ++i)
      importance.sums.push_back(static_cast<float>(std::exp(2 * random.normal())));
  }
  const TypeRules types = TypeRules::parse("Q4_0");
  QuantizePlan quantize = plan_quantize(whole, types, false);
  use_importance(quantize, matrix, "some.imatrix");
  write_quantized(whole, quantize, folder_ / "two.gguf",
                  {.threads = 2, .overwrite = false, .progress = {}, .stopped = {}});
  const Model model = load_model(golden_folder("deepseek_v3"), dry());
  ConversionOptions options;
  options.types = types;
  options.importance = &matrix;
  options.importance_file = "some.imatrix";
  EXPECT_TRUE(write_conversion(model, plan_conversion(model, options), folder_ / "one.gguf", {}).whole);
  const Gguf one = Gguf::open(folder_ / "one.gguf"), two = Gguf::open(folder_ / "two.gguf"),
             plain = Gguf::open(convert(golden_folder("deepseek_v3"), "plain.gguf", {.types = "Q4_0"}));
  EXPECT_EQ(one.string("quantize.imatrix.file"), "some.imatrix");
  int others = 0;
  for (const TensorView& t : two.tensors()) {
    EXPECT_TRUE(bytes_of(*one.tensor(t.name)) == bytes_of(t)) << t.name;
    others += bytes_of(*plain.tensor(t.name)) != bytes_of(t);
  }
  EXPECT_GT(others, 20);
}

TEST_F(Convert, WithoutTheExtraLayer) {
  const fs::path gguf = convert(golden_folder("deepseek_v3_mtp"), "trunk.gguf", {.mtp = false});
  const Model model = load_model(gguf);
  EXPECT_EQ(model.config.mtp_layers, 0);
  EXPECT_EQ(model.config.mtp_announced, 0);
  EXPECT_EQ(model.config.layers, 2);
  const Model with = load_model(convert(golden_folder("deepseek_v3_mtp"), "with.gguf"));
  EXPECT_EQ(with.config.mtp_layers, 1);
  const std::vector<float> a = logits_of(model), b = logits_of(with);
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
}

TEST_F(Convert, TheExtraLayerOfAV2IsSaid) {
  Config config = load_model(golden_folder("deepseek_v2_lite"), dry()).config;
  EXPECT_FALSE(config_to_json(config, "bfloat16").find("num_nextn_predict_layers"));
  config.mtp_layers = 1;
  EXPECT_EQ(config_to_json(config, "bfloat16").at("num_nextn_predict_layers"), Json(1));
}

TEST_F(Convert, OlderLayoutsBecomeFolders) {
  golden_as_gguf("deepseek_v3", {.legacy_kv_b = true, .fused_gate_up = true}).write(folder_ / "old.gguf");
  const fs::path back = convert(folder_ / "old.gguf", "back", {.types = "F32"});
  EXPECT_EQ(logits_of(load_model(folder_ / "old.gguf")).size(), logits_of(load_model(back)).size());
  VerifyOptions options;
  options.threads = 2;
  expect_verified(load_model(back), golden_tensors("deepseek_v3"), options, "old");

  const fs::path first = golden_as_gguf("deepseek_v32").write_split(folder_ / "split", 3);
  expect_verified(load_model(convert(first, "parts")), golden_tensors("deepseek_v32"), options, "parts");
}

// What GGUF has no words for travels under keys of our own, and others' files are understood without them.
TEST_F(Convert, Llama3RopeIsFoundAgain) {
  RopeConfig rope;
  rope.dims = 128;
  rope.theta = 500000;
  rope.scaling = RopeScaling::llama3;
  for (const auto& [factor, original, high] :
       {std::tuple(8.0, 8192.0, 4.0), {32.0, 8192.0, 4.0}, {16.0, 4096.0, 8.0}}) {
    rope.factor = factor;
    rope.original = original;
    rope.high_freq = high;
    RopeConfig other = rope;
    other.scaling = RopeScaling::divisors;
    other.divisors = rope_divisors(rope);
    const auto found = llama3_of_divisors(other);
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, rope) << found->factor << ' ' << found->original << ' ' << found->high_freq;
  }
  RopeConfig none = rope;
  none.scaling = RopeScaling::divisors;
  none.divisors.assign(64, 1);
  none.divisors[7] = 3;
  EXPECT_FALSE(llama3_of_divisors(none));
  RopeConfig huge = rope;  // more than a config.json may say
  huge.factor = 1e7;
  huge.divisors = rope_divisors(huge);
  huge.scaling = RopeScaling::divisors;
  EXPECT_FALSE(llama3_of_divisors(huge));
}

TEST_F(Convert, OtherConvertersLlama) {  // without our key for its frequencies
  golden_as_gguf("llama").write(folder_ / "other.gguf");
  const Model back = load_model(convert(folder_ / "other.gguf", "back"));
  EXPECT_EQ(back.config.rope.scaling, RopeScaling::llama3);
  VerifyOptions options;
  options.threads = 2;
  expect_verified(back, golden_tensors("llama"), options, "llama");
}

TEST_F(Convert, SaysWhatItCannotSay) {
  const fs::path folder = golden_copy("deepseek_v3");
  Json config = parse_json(read_file(folder / "config.json"));
  config.find("rope_scaling")->set("mscale", 0.5);
  write_text(folder / "config.json", to_string(config));
  expect_says(error_of([&] { convert(folder, "a.gguf"); }), "mscale of 0.5");
  EXPECT_FALSE(fs::exists(folder_ / "a.gguf.unfinished"));

  Config mixed = load_model(golden_folder("deepseek_v3"), dry()).config;
  mixed.moe->router.group_score = GroupScore::max;
  expect_says(error_of([&] { config_to_json(mixed, "bfloat16"); }), "experts have a bias");
}

TEST_F(Convert, TargetsAreProtected) {
  write_text(folder_ / "mine.gguf", "mine");
  const std::string text = error_of([&] { convert(golden_folder("llama"), "mine.gguf"); });
  expect_says(text, "mine.gguf");
  expect_says(text, "--force");
  EXPECT_EQ(read_file(folder_ / "mine.gguf"), "mine");
  convert(golden_folder("llama"), "mine.gguf", {.overwrite = true});
  fs::create_directories(folder_ / "photos");
  write_text(folder_ / "photos" / "cat.png", "cat");
  expect_says(error_of([&] { convert(folder_ / "mine.gguf", "photos", {.overwrite = true}); }),
              "holds no model");
  EXPECT_TRUE(fs::exists(folder_ / "photos" / "cat.png"));
  convert(folder_ / "mine.gguf", "model");
  expect_says(error_of([&] { convert(folder_ / "mine.gguf", "model"); }), "--force");
  convert(folder_ / "mine.gguf", "model", {.overwrite = true});
}

TEST_F(Convert, TakesUpWhatWasStopped) {
  for (const char* name : {"deepseek_v3", "llama4"}) {
    const std::string gguf_name = std::string(name) + ".gguf";
    const std::string whole = read_file(convert(golden_folder(name), "whole-" + gguf_name));
    const Model model = load_model(golden_folder(name), dry());
    const Conversion conversion = plan(model, {});
    int64_t kept = 0;
    int runs = 0;
    for (Converted done; !done.whole; ++runs) {
      int asked = 0;
      ConversionRun run;
      run.sync_bytes = 1000;
      run.stopped = [&] { return ++asked > 60 + runs; };
      done = write_conversion(model, conversion, folder_ / gguf_name, run);
      EXPECT_GE(done.kept, kept);
      kept = done.kept;
      EXPECT_EQ(fs::exists(folder_ / gguf_name), done.whole);
      ASSERT_LT(runs, 100);
    }
    EXPECT_GT(runs, 1);
    // The name of the source stands in both.
    EXPECT_TRUE(read_file(folder_ / gguf_name) == whole) << name;
  }
}

TEST_F(Convert, AnotherSourceBeginsAnew) {
  const fs::path folder = golden_copy("llama");
  const auto stopped_run = [&](int64_t at) {
    const Model model = load_model(folder, dry());
    ConversionRun run;
    run.sync_bytes = 1000;
    int64_t done = 0;
    run.progress = [&](int64_t now, int64_t) { done = now; };
    run.stopped = [&] { return done > at; };
    return write_conversion(model, plan(model, {}), folder_ / "a.gguf", run);
  };
  EXPECT_FALSE(stopped_run(100'000).whole);
  EXPECT_GT(stopped_run(200'000).kept, 100'000);
  fs::last_write_time(folder / "model.safetensors", fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_EQ(stopped_run(100'000).kept, 0);
}

TEST_F(Convert, LicenceAndAdviceTravel) {
  const fs::path folder = golden_copy("qwen2");
  write_text(folder / "README.md",
             "---\nlicense: other\nlicense_name: fish\nlicense_link: LICENSE\n---\n# Whale\n");
  write_text(folder / "LICENSE", "Swim freely.\n");
  write_text(
      folder / "generation_config.json",
      R"({"do_sample": true, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "eos_token_id": [1, 5]})");
  const fs::path gguf = convert(folder, "whale.gguf");
  EXPECT_EQ(Gguf::open(gguf).string("general.license"), "other");
  EXPECT_EQ(Gguf::open(gguf).string("general.license.name"), "fish");
  EXPECT_EQ(load_model(gguf).config.eos, (std::vector<int32_t>{1, 5}));
  const HfFolder back = HfFolder::open(convert(gguf, "back"));
  EXPECT_EQ(back.licence, "other");
  EXPECT_EQ(back.licence_name, "fish");
  EXPECT_EQ(back.licence_link, "LICENSE");
  ASSERT_EQ(back.licence_files.size(), 1u);
  EXPECT_EQ(read_file(back.licence_files[0]), "Swim freely.\n");
  EXPECT_EQ(back.generation.temperature, 0.6);
  EXPECT_EQ(back.generation.top_p, 0.95);
  EXPECT_EQ(back.generation.top_k, 20);
  EXPECT_EQ(back.generation.eos_ids, (std::vector<int64_t>{1, 5}));
  expect_says(read_file(folder_ / "back" / "README.md"), "whale.gguf");
}

TEST_F(Convert, NumbersThatAreNotFinite) {
  const fs::path folder = golden_copy("llama");
  const Safetensors source = Safetensors::open(golden_folder("llama") / "model.safetensors");
  std::vector<TensorView> tensors(source.tensors().begin(), source.tensors().end());
  std::string bytes;
  for (TensorView& t : tensors) {
    if (t.name != "model.layers.1.mlp.up_proj.weight") continue;
    bytes = bytes_of(t);
    const float nan = NAN;
    std::memcpy(bytes.data() + 400, &nan, 4);
    t.bytes = as_bytes(bytes);
  }
  save_safetensors(folder / "model.safetensors", tensors);
  expect_says(error_of([&] { convert(folder, "a.gguf"); }), "blk.1.ffn_up.weight");
}

}  // namespace
}  // namespace minke

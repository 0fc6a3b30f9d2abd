#include "train/run_config.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/toml.h"
#include "model/architecture.h"
#include "model/fields.h"
#include "model/load.h"
#include "train/buffers.h"

namespace minke {
namespace {

const std::set<std::string> kNoneAllowed;
constexpr int64_t kMany = int64_t{1} << 40;

bool has_all(std::string_view) { return true; }

fs::path beside(const fs::path& config, const std::string& name) {
  const fs::path path = name;
  return path.is_absolute() ? path : config.parent_path() / path;
}

// The config with some fields of its config.json replaced, weights staying as they are.
Config replaced(const Config& config, const Json& fields, const std::string& where) {
  Json json = config_to_json(config, "float32");
  for (const auto& [key, value] : fields.as_object()) json.set(key, value);
  Config other = config_from_json(json, where, has_all, kNoneAllowed);
  other.mtp_layers = config.mtp_layers;
  other.mtp_announced = config.mtp_announced;
  other.rope.half = config.rope.half;
  other.name = config.name;
  std::vector<int64_t> shapes[2];
  for (const Config* c : {&config, static_cast<const Config*>(&other)})
    for_each_weight(*c, [&](const WeightSlot& slot) {
      auto& list = shapes[c == &other];
      list.insert(list.end(), {static_cast<int64_t>(slot.role), slot.layer, slot.rows, slot.cols});
    });
  if (shapes[0] != shapes[1])
    throw Error("changes the shape of the model's weights", where,
                "stages may change rope and what goes with it");
  return other;
}

IndexerPart indexer_part(JsonFields& fields, const Config& config) {
  struct Name {
    const char* name;
    IndexerPart part;
  };
  static constexpr Name kNames[] = {{"none", IndexerPart::none},
                                    {"chooses", IndexerPart::chooses},
                                    {"warms_up", IndexerPart::warms_up},
                                    {"learns", IndexerPart::learns}};
  const std::optional<std::string> text = fields.string("indexer");
  if (!text) return config.indexer ? IndexerPart::learns : IndexerPart::none;
  for (const Name& n : kNames)
    if (*text == n.name) {
      if (n.part != IndexerPart::none && !config.indexer) fields.wrong("indexer", "the model has none");
      return n.part;
    }
  fields.wrong("indexer", fmt::format("'{}' is none of none, chooses, warms_up, learns", *text));
}

BatchSchedule batch_schedule(JsonFields& fields, int pass) {
  BatchSchedule batch;
  batch.last = fields.need("batch", 1, 1 << 20);
  batch.first = fields.integer("batch_first", 1, batch.last).value_or(batch.last);
  batch.ramp = fields.integer("batch_ramp", 0, kMany >> 12).value_or(0);
  batch.multiple = std::min(pass, batch.first);
  return batch;
}

RateSchedule rate_schedule(JsonFields& fields) {
  RateSchedule rate;
  rate.rate = fields.need_number("rate", 0, 10);
  rate.final_rate = fields.number("final_rate", 0, 10).value_or(rate.rate);
  rate.warmup = fields.integer("warmup", 0, kMany >> 12).value_or(0);
  rate.constant = fields.integer("constant", 0, kMany >> 12).value_or(0);
  return rate;
}

AdamW adamw_options(JsonFields& fields) {
  AdamW o;
  o.beta1 = fields.number("beta1", 0, 0.999999).value_or(o.beta1);
  o.beta2 = fields.number("beta2", 0, 0.999999).value_or(o.beta2);
  o.eps = fields.number("eps", 1e-30, 1).value_or(o.eps);
  o.decay = fields.number("weight_decay", 0, 10).value_or(o.decay);
  o.clip = fields.number("clip", 0, 1e9).value_or(o.clip);
  return o;
}

std::vector<Role> lora_targets(JsonFields& lora) {
  const Json* names = lora.value("targets");
  if (!names) return LoraConfig{}.targets;
  if (!names->is_array() || names->as_array().empty())
    lora.wrong("targets", fmt::format("a list out of {}", adapted_names()));
  std::vector<Role> targets;
  for (const Json& name : names->as_array()) {
    const AdaptedMatrix* matrix = name.is_string() ? adapted_matrix(name.as_string()) : nullptr;
    if (!matrix) lora.wrong("targets", fmt::format("{} is none of {}", to_string(name), adapted_names()));
    targets.push_back(matrix->role);
  }
  return targets;
}

LoraConfig lora_config(JsonFields& fields, const Config& config) {
  const Json* json = fields.value("lora");
  if (!json) return {};
  JsonFields lora = fields.inside("lora", *json);
  LoraConfig result;
  result.rank = lora.need("rank", 1, kMostAdapterRank);
  result.alpha = lora.number("alpha", 1e-6, 1e6).value_or(2.0 * result.rank);
  result.targets = lora_targets(lora);
  lora.finish();
  if (!takes_adapters(config)) fields.wrong("lora", "adapters are for Llama and Qwen2 models");
  return result;
}

ReferenceConfig reference_config(JsonFields& fields, const StageConfig& stage, const fs::path& config) {
  const Json* json = fields.value("reference");
  if (!json) return {};
  if (stage.lora.rank == 0) fields.wrong("reference", "goes with lora: it is the model without adapters");
  JsonFields reference = fields.inside("reference", *json);
  const std::optional<std::string> data = reference.string("data");
  if (!data) reference.wrong("data", "names the folder of token shards");
  ReferenceConfig result;
  result.data = beside(config, *data);
  result.weight = reference.need_number("weight", 1e-9, 1e6);
  result.batch = reference.integer("batch", 1, 1 << 16).value_or(1);
  reference.finish();
  return result;
}

ParallelConfig parallel_config(JsonFields& fields) {
  const Json* json = fields.value("parallel");
  if (!json) return {};
  JsonFields parallel = fields.inside("parallel", *json);
  ParallelConfig result;
  result.zero = parallel.integer("zero", 0, 1).value_or(0);
  result.experts = parallel.integer("experts", 1, 1 << 16).value_or(1);
  parallel.finish();
  return result;
}

StageConfig read_stage(const Json& json, const std::string& where, const RunConfig& run) {
  JsonFields fields(json, where, kNoneAllowed);
  StageConfig s;
  s.config = run.config;
  if (const Json* changes = fields.value("model"))
    s.config = replaced(run.config, *changes, where + ": model");
  const std::optional<std::string> name = fields.string("name"), data = fields.string("data");
  if (!name || name->empty()) fields.wrong("name", "every stage has one");
  if (!data) fields.wrong("data", "names the folder of token shards");
  s.name = *name;
  s.data = beside(run.path, *data);
  s.split = fields.string("split").value_or("train");
  s.steps = fields.need("steps", 1, int64_t{1} << 30);
  s.sequence = fields.need("sequence", 2, 1 << 20);
  s.pass = fields.integer("pass", 1, 1 << 16).value_or(1);
  s.batch = batch_schedule(fields, s.pass);
  s.rate = rate_schedule(fields);
  s.adamw = adamw_options(fields);
  const std::string optimizer = fields.string("optimizer").value_or("adamw");
  if (optimizer != "adamw" && optimizer != "muon") fields.wrong("optimizer", "is adamw or muon");
  s.muon = optimizer == "muon";
  s.indexer = indexer_part(fields, s.config);
  const bool models = s.indexer != IndexerPart::warms_up;
  s.mtp = fields.number("mtp", 0, 10).value_or(models && s.config.mtp_layers > 0 ? 0.3 : 0);
  s.balance = fields.number("balance", 0, 10).value_or(models && s.config.moe ? 1e-4 : 0);
  const bool biased = models && s.config.moe && s.config.moe->router_bias;
  s.bias_speed = fields.number("bias_speed", 0, 1).value_or(biased ? 0.001 : 0);
  s.evaluate_steps = fields.integer("evaluate_steps", 0, 1 << 30).value_or(0);
  s.held_out = fields.string("held_out").value_or("val");
  s.lora = lora_config(fields, s.config);
  s.reference = reference_config(fields, s, run.path);
  fields.finish();
  if (s.muon && s.lora.rank > 0) fields.wrong("optimizer", "adapters are trained by adamw");
  if (s.sequence > s.config.context)
    fields.wrong("sequence", fmt::format("the model's context is {} tokens", s.config.context));
  if (s.mtp > 0 && s.config.mtp_layers == 0) fields.wrong("mtp", "the model has no such layer");
  if (!models && (s.mtp > 0 || s.balance > 0 || s.bias_speed > 0))
    fields.wrong("indexer", "in a warm-up only the indexer learns: no mtp, balance or bias_speed");
  return s;
}

void read_model(JsonFields& fields, RunConfig& run) {
  const Json* json = fields.value("model");
  if (!json) fields.wrong("model", "names the model: {\"config\": ...} or {\"from\": ...}");
  JsonFields model = fields.inside("model", *json);
  const std::optional<std::string> from = model.string("from");
  const Json* config = model.value("config");
  if (!from == !config) model.wrong("config", "give either a config or a model to begin from");
  if (from) {
    run.from = beside(run.path, *from);
    run.config = open_model(run.from).config;
  } else if (config->is_string()) {
    const fs::path file = beside(run.path, config->as_string());
    run.config = config_from_json(parse_json(read_file(file)), file.string(), has_all, kNoneAllowed);
  } else {
    run.config = config_from_json(*config, run.path.string() + ": model.config", has_all, kNoneAllowed);
  }
  run.deviation = static_cast<float>(model.number("deviation", 0, 1).value_or(0.006));
  model.finish();
  require_trainable(run.config);
}

}  // namespace

int64_t RunConfig::steps() const {
  int64_t all = 0;
  for (const StageConfig& stage : stages) all += stage.steps;
  return all;
}

std::string RunConfig::identity() const {
  Json kept = JsonObject{};
  for (const auto& [key, value] : text.as_object())
    if (key != "output" && key != "threads" && key != "checkpoint_steps" && key != "keep" &&
        key != "format" && key != "tokenizer" && key != "parallel")
      kept.set(key, value);
  return to_string(kept) + to_string(config_to_json(config, "float32"));
}

RunConfig parse_run_config(const Json& json, const fs::path& path) {
  RunConfig run;
  run.path = path;
  run.text = json;
  JsonFields fields(json, path.string(), kNoneAllowed);
  read_model(fields, run);
  run.seed = static_cast<uint64_t>(fields.integer("seed", 0, 1 << 30).value_or(1));
  const std::optional<std::string> output = fields.string("output");
  if (!output || output->empty()) fields.wrong("output", "names the folder that checkpoints and model go to");
  run.output = beside(path, *output);
  run.threads = fields.integer("threads", 0, 4096).value_or(0);
  const std::string precision = fields.string("precision").value_or("bf16");
  if (precision != "bf16" && precision != "f32") fields.wrong("precision", "is bf16 or f32");
  run.precision = precision == "f32" ? Precision::f32 : Precision::bf16;
  run.recompute = fields.boolean("recompute").value_or(false);
  run.checkpoint_steps = fields.integer("checkpoint_steps", 1, 1 << 30).value_or(100);
  run.keep = fields.integer("keep", 1, 1000).value_or(2);
  run.spike = fields.number("spike", 0, 1e9).value_or(2);
  const std::string format = fields.string("format").value_or("bf16");
  if (format != "bf16" && format != "f32") fields.wrong("format", "is bf16 or f32");
  run.format = format == "f32" ? Format::f32 : Format::bf16;
  if (const std::optional<std::string> tokenizer = fields.string("tokenizer"))
    run.tokenizer = {beside(path, *tokenizer)};
  run.parallel = parallel_config(fields);
  const Json* stages = fields.value("stages");
  if (!stages || !stages->is_array() || stages->as_array().empty())
    fields.wrong("stages", "a list of one stage or more");
  fields.finish();
  int number = 0;
  for (const Json& stage : stages->as_array())
    run.stages.push_back(read_stage(stage, fmt::format("{}: stages[{}]", path.string(), number++), run));
  for (const StageConfig& stage : run.stages)
    if (stage.lora.rank > 0 && (run.stages.size() > 1 || run.from.empty()))
      fields.wrong("stages", "adapters are trained in a run of one stage, of a model it begins from");
  return run;
}

RunConfig read_run_config(const fs::path& path) {
  const std::string text = read_file(path, size_t{16} << 20);
  try {
    return parse_run_config(path.extension() == ".toml" ? parse_toml(text, path.string()) : parse_json(text),
                            path);
  } catch (const Error& e) {
    if (!e.subject().empty()) throw;
    throw e.within(path.string());
  }
}

}  // namespace minke

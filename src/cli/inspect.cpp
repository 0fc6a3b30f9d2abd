#include <algorithm>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/residence.h"
#include "cli/command.h"
#include "cli/engine_flags.h"
#include "model/presets.h"
#include "plan/counts.h"
#include "plan/memory.h"

namespace minke {
namespace {

struct Flags {
  EngineFlags engine;
  bool json = false;
};

constexpr std::string_view kPreset = "preset:";
constexpr int64_t kLongContext = 262144;  // R2's

// A table row: what people read, and the name and value scripts get.
struct Row {
  std::string label, text, key;
  Json value;
};

std::string billions(int64_t n) {
  return n >= 1'000'000'000 ? fmt::format("{:.3f}B ({})", static_cast<double>(n) / 1e9, n)
                            : fmt::format("{:.2f}M ({})", static_cast<double>(n) / 1e6, n);
}
std::string gigabytes(int64_t n) {
  return n >= 1'000'000'000 ? fmt::format("{:.2f} GB", static_cast<double>(n) / 1e9)
                            : fmt::format("{:.1f} MB", static_cast<double>(n) / 1e6);
}

class Table {
 public:
  void add(std::string label, std::string text, std::string key, Json value) {
    rows_.push_back({std::move(label), std::move(text), std::move(key), std::move(value)});
  }
  void add(std::string label, int64_t value, std::string key) {
    add(std::move(label), fmt::format("{}", value), std::move(key), Json(value));
  }

  void add_value(std::string key, Json value) {  // for scripts alone
    rows_.push_back({{}, {}, std::move(key), std::move(value)});
  }

  void print(bool json) const {
    if (json) {
      Json object = JsonObject{};
      for (const Row& r : rows_) object.set(r.key, r.value);
      fmt::print("{}\n", to_string(object, 1));
      return;
    }
    for (const Row& r : rows_)
      if (!r.text.empty()) fmt::print("{:<22} {}\n", r.label, r.text);
  }

 private:
  std::vector<Row> rows_;
};

void add_shape(Table& t, const Config& c) {
  t.add("architecture", c.arch, "architecture", c.arch);
  if (!c.name.empty()) t.add("name", c.name, "name", c.name);
  const Counts n = count(c);
  t.add("parameters", billions(n.total), "parameters", n.total);
  t.add("active per token", billions(n.active), "active_parameters", n.active);
  t.add("  without embedding", billions(n.active_without_embedding()), "active_without_embedding",
        n.active_without_embedding());
  if (c.mtp_layers > 0)
    t.add("MTP layers", fmt::format("{}, {} more", c.mtp_layers, billions(n.mtp)), "mtp_parameters", n.mtp);
  t.add("layers", c.layers, "layers");
  t.add("hidden size", c.dim, "hidden_size");
  t.add("vocabulary", c.vocab, "vocabulary");
  t.add("context", fmt::format("{} tokens", c.context), "context", c.context);
  if (c.mla) {
    const MlaConfig& m = *c.mla;
    t.add("attention",
          fmt::format("MLA, {} heads of {} + {}, latent {}, queries {}", c.heads, m.nope, m.rope, m.kv_lora,
                      m.q_lora ? fmt::format("{}", m.q_lora) : "direct"),
          "attention", "mla");
  } else {
    t.add("attention",
          fmt::format("GQA, {} heads of {}, {} key-value heads", c.heads, c.head_dim, c.kv_heads),
          "attention", "gqa");
  }
  if (c.indexer)
    t.add("sparse attention",
          fmt::format("{} of all positions, chosen by {} heads of {}", c.indexer->topk, c.indexer->heads,
                      c.indexer->width),
          "index_topk", c.indexer->topk);
  if (c.moe) {
    const RouterConfig& r = c.moe->router;
    t.add(
        "experts",
        fmt::format("{} of {}, width {}, shared {}", r.active, r.experts, c.moe->inter, c.moe->shared_inter),
        "experts",
        JsonObject{{"count", r.experts},
                   {"active", r.active},
                   {"width", c.moe->inter},
                   {"shared_width", c.moe->shared_inter}});
  }
}

// Bytes of each part of a token's rows in all layers, and what the layout adds to align them.
void add_row_parts(Table& t, const Config& c, KvFormat format) {
  int64_t latent = 0, index = 0, all = 0;
  for (const KvRow& row : kv_layout(c, format)) {
    latent += row.latent.bytes();
    index += row.index.bytes();
    all += row.bytes;
  }
  std::string text = fmt::format("  latent and rope {} bytes a token, {} for {}", latent,
                                 gigabytes(latent * kLongContext), kLongContext);
  if (index > 0) text += fmt::format("; indexer keys {}, {}", index, gigabytes(index * kLongContext));
  text += all == latent + index ? "; no padding" : fmt::format("; padding {}", all - latent - index);
  t.add("", text, fmt::format("cache_parts_{}", name(format)),
        JsonObject{{"latent", latent}, {"indexer", index}, {"padding", all - latent - index}});
}

void add_long_cache(Table& t, const Config& c, KvFormat format, int64_t bytes) {
  const std::string key = fmt::format("cache_bytes_262144_{}", name(format));
  if (c.context == kLongContext)  // said already
    t.add_value(key, bytes * kLongContext);
  else
    t.add("", fmt::format("{} for {} tokens", gigabytes(bytes * kLongContext), kLongContext), key,
          bytes * kLongContext);
}

void add_cache(Table& t, const Config& c) {
  for (const KvFormat format : {KvFormat::bf16, KvFormat::int8, KvFormat::fp8, KvFormat::f32}) {
    Config without_mtp = c;
    without_mtp.mtp_layers = 0;
    const int64_t bytes = cache_bytes_per_token(without_mtp, format);
    t.add(fmt::format("cache, {}", name(format)),
          fmt::format("{} bytes a token, {} for {} tokens", bytes, gigabytes(bytes * c.context), c.context),
          fmt::format("cache_bytes_per_token_{}", name(format)), bytes);
    add_long_cache(t, c, format, bytes);
    if (c.mla) add_row_parts(t, without_mtp, format);
  }
}

int inspect_preset(const Flags& flags) {
  const Config c = preset(std::string_view(flags.engine.model.model).substr(kPreset.size()));
  Table t;
  add_shape(t, c);
  Json by_format = JsonObject{};
  for (const FormatInfo& f : all_formats()) {
    const int64_t bytes = weight_bytes(c, f.format);
    t.add(fmt::format("weights as {}", f.name), gigabytes(bytes), fmt::format("weight_bytes_{}", f.name),
          bytes);
  }
  add_cache(t, c);
  t.print(flags.json);
  return kExitOk;
}

// Bytes and tensors by format, most bytes first.
void add_formats(Table& t, const Model& model) {
  struct Sum {
    int64_t tensors = 0, bytes = 0;
  };
  std::map<std::string, Sum> sums;
  int64_t total = 0;
  for (const TensorView& v : tensors_of(model)) {
    Sum& s = sums[type_name(v)];
    ++s.tensors;
    s.bytes += static_cast<int64_t>(v.bytes.size());
    total += static_cast<int64_t>(v.bytes.size());
  }
  std::vector<std::pair<std::string, Sum>> order(sums.begin(), sums.end());
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::string text;
  Json json = JsonObject{};
  for (const auto& [format, s] : order) {
    text +=
        fmt::format("{}{} {} ({} tensors)", text.empty() ? "" : ", ", format, gigabytes(s.bytes), s.tensors);
    json.set(format, JsonObject{{"tensors", Json(s.tensors)}, {"bytes", Json(s.bytes)}});
  }
  t.add("weights", gigabytes(total), "weight_bytes", total);
  t.add("formats", text, "formats", json);
}

void add_texts(Table& t, const Model& model) {
  try {
    const Tokenizer tokenizer = load_tokenizer(model);
    t.add("tokenizer", fmt::format("{}, {} tokens", tokenizer.pre_name(), tokenizer.size()), "tokenizer",
          JsonObject{{"pre", tokenizer.pre_name()}, {"tokens", tokenizer.size()}});
    const ChatFormat format = chat_format(model, tokenizer);
    t.add("chat format", format.name(), "chat_format", format.name());
  } catch (const Error& e) {
    t.add("tokenizer", fmt::format("none: {}", e.what()), "tokenizer_error", e.what());
  }
  std::string licence;
  if (model.gguf())
    licence = model.gguf()->string("general.license").value_or("");
  else
    licence = model.folder()->licence;
  t.add("licence", licence.empty() ? "not stated" : licence, "licence",
        licence.empty() ? Json() : Json(licence));
}

// What a start would find in memory, and not wait for.
void add_page_cache(Table& t, const Model& model) {
  Residence sum;
  for (const MappedFile& file : files_of(model)) {
    const Residence r = cached_part(file);
    sum.present += r.present;
    sum.huge_file += r.huge_file;
  }
  t.add("in the page cache now",
        fmt::format("{}, {} of it on huge pages", gigabytes(sum.present), gigabytes(sum.huge_file)),
        "page_cache", JsonObject{{"bytes", sum.present}, {"huge_pages", sum.huge_file}});
}

int inspect_file(const Flags& flags) {
  LoadOptions options = flags.engine.model.load_options();
  options.dry = true;
  const Model model = load_model(flags.engine.model.path(), options);
  Table t;
  t.add("file", model.path.string(), "file", model.path.string());
  add_shape(t, model.config);
  add_formats(t, model);
  add_texts(t, model);
  add_cache(t, model.config);
  const InstanceOptions o = engine_options(model, flags.engine).for_instance();
  const Limits limits = resolved_limits(model, o);
  const MemoryPlan plan = plan_memory(model, limits);
  t.add(fmt::format("memory, --ctx {}", limits.context),
        fmt::format("{}: weights {}, made at load {}, cache {}, step {}, vocabulary {}, program {}",
                    gigabytes(plan.total()), gigabytes(plan.weights), gigabytes(plan.made),
                    gigabytes(plan.cache), gigabytes(plan.state), gigabytes(plan.vocabulary),
                    gigabytes(plan.program)),
        "memory",
        JsonObject{{"context", limits.context},
                   {"total", plan.total()},
                   {"weights", plan.weights},
                   {"made_at_load", plan.made},
                   {"cache", plan.cache},
                   {"step", plan.state},
                   {"vocabulary", plan.vocabulary},
                   {"program", plan.program}});
  add_page_cache(t, model);
  t.print(flags.json);
  return kExitOk;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("inspect", "Show what a model is and what it needs");
  flags->engine.add(command);
  command.get_option("MODEL")->description("A model, or preset:NAME for a shape without weights (" + [] {
    std::string names;
    for (const std::string& n : preset_names()) names += (names.empty() ? "" : ", ") + n;
    return names;
  }() + ")");
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer("Examples:\n  minke inspect model.gguf --ctx 32768\n  minke inspect preset:r2 --json");
  command.callback([flags, &action] {
    flags->engine.check();
    action = [flags] {
      return flags->engine.model.model.starts_with(kPreset) ? inspect_preset(*flags) : inspect_file(*flags);
    };
  });
}

}  // namespace minke

#include "cli/engine_flags.h"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "plan/memory.h"

namespace minke {

void EngineFlags::add(CLI::App& command) {
  model.add_model(command);
  model.add_adapters(command);
  command
      .add_option(
          "--ctx", context,
          "Tokens that prompt and answer may have together (default: 4096, or what the model was made for)")
      ->check(CLI::Range(2, 1 << 26));
  command.add_option("--ubatch", ubatch, "Prompt tokens of one step")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command
      .add_option("--activations", activations,
                  "int8 (bf16 beside BF16 and FP8 weights), or f32: slower, nearer to the reference")
      ->check(CLI::IsMember({"int8", "f32"}));
  model.add_kv(command);
  command
      .add_option("--draft", draft,
                  "Tokens tried ahead, the answer being the same: where the text repeats itself, or by the "
                  "model's MTP layer; 0: none")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command.add_flag(
      "--exact", exact,
      "One form of attention throughout, so that an answer is the same whether its beginning was "
      "generated, cached or handed in anew; DeepSeek models then read long prompts more slowly");
  command.add_option("--draft-by", draft_by, "Where drafts come from: lookup, mtp, or both (auto)")
      ->check(CLI::IsMember({"auto", "lookup", "mtp"}))
      ->capture_default_str();
  command.add_option("--chat-template", chat_template, "A Jinja file instead of the model's own template");
  command.add_option("--template-kwargs", template_kwargs, "Variables for the template, a JSON object");
  model.add_machine(command);
}

EngineOptions engine_options(const Model& model, const EngineFlags& flags) {
  EngineOptions options;
  options.draft = flags.draft;
  options.draft_by = flags.draft_by == "mtp"      ? DraftBy::mtp
                     : flags.draft_by == "lookup" ? DraftBy::lookup
                                                  : DraftBy::automatic;
  InstanceOptions& o = options.instance;
  o.isa = flags.model.chosen_isa();
  o.round_activations = flags.activations == "int8";
  o.limits.threads = flags.model.threads;
  o.limits.kv = flags.model.kv_formats();
  if (flags.context > model.config.context)
    throw Error(fmt::format("{} tokens, but the model was made for {}", flags.context, model.config.context),
                "--ctx");
  o.limits.context = flags.context > 0 ? flags.context : std::min(kDefaultContext, model.config.context);
  o.limits.rows = std::min(flags.ubatch, o.limits.context);
  o.limits.decompress = !flags.exact;
  return options;
}

void EngineFlags::check() const {
  model.chosen_isa();
  model.kv_formats();
  minke::template_kwargs(*this);
}

EngineOptions EngineFlags::options(const Model& loaded) const {
  const EngineOptions o = engine_options(loaded, *this);
  require_memory(loaded, o.for_instance());
  return o;
}

Loaded::Loaded(const EngineFlags& flags) : model(flags.model.load()), tokenizer(load_tokenizer(model)) {
  if (model.made_for_layout > 100 << 20)
    fmt::print(stderr, "{:.2f} GB of weights were made at load: the file's layout cannot be used as it is\n",
               static_cast<double>(model.made_for_layout) / 1e9);
}

ChatFormat chat_format(const Loaded& loaded, const EngineFlags& flags) {
  const std::string own =
      flags.chat_template.empty() ? std::string() : read_file(flags.chat_template, 16 << 20);
  if (!flags.chat_template.empty() && own.empty()) throw Error("is empty", flags.chat_template);
  return chat_format(loaded.model, loaded.tokenizer, own);
}

Json template_kwargs(const EngineFlags& flags) {
  if (flags.template_kwargs.empty()) return JsonObject{};
  Json json;
  try {
    json = parse_json(flags.template_kwargs);
  } catch (const Error& e) {
    throw e.within("--template-kwargs");
  }
  if (!json.is_object())
    throw Error(fmt::format("expected an object, found {}", json.type_name()), "--template-kwargs");
  return json;
}

std::string timing_line(const Finish& f) {
  // The first token comes out of the prompt's last step: the others took the decode time.
  const double rate =
      f.output_tokens > 1 && f.decode_seconds > 0 ? (f.output_tokens - 1) / f.decode_seconds : 0;
  std::string line =
      fmt::format("[{} tokens, {:.1f} tok/s; prompt {} tokens", f.output_tokens, rate, f.prompt_tokens);
  if (f.cached_tokens > 0) line += fmt::format(", {} cached", f.cached_tokens);
  if (f.accepted_tokens > 0)
    line += fmt::format(", {} of {} drafted right", f.accepted_tokens, f.drafted_tokens);
  return line + fmt::format(", {:.2f} s]", f.prefill_seconds);
}

}  // namespace minke

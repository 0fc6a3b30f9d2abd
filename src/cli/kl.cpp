#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/text_flags.h"
#include "engine/divergence.h"
#include "plan/memory.h"

namespace minke {
namespace {

struct Flags {
  ModelFlags a, b;
  TextFlags text;
  bool json = false;
};

void print_json(const Flags& flags, const Divergence& d) {
  const auto model = [](const ModelFlags& m, const Perplexity& p) {
    return Json(JsonObject{
        {"model", m.model}, {"perplexity", p.value()}, {"nll", p.nll}, {"nll_standard_error", p.error}});
  };
  Json json;
  json.set("kl", JsonObject{{"mean", d.mean},
                            {"standard_error", d.error},
                            {"median", d.median},
                            {"p99", d.p99},
                            {"max", d.most}});
  json.set("same_top", d.same_top);
  json.set("same_top_standard_error", d.same_top_error);
  json.set("a", model(flags.a, d.a));
  json.set("b", model(flags.b, d.b));
  json.set("tokens", d.a.predicted);
  json.set("window", flags.text.window);
  fmt::print("{}\n", to_string(json));
}

void print_text(const Flags& flags, const Divergence& d) {
  fmt::print("KL divergence   {:.6f} +- {:.6f}, median {:.6f}, 99th percentile {:.6f}, most {:.6f}\n", d.mean,
             d.error, d.median, d.p99, d.most);
  fmt::print("same top token  {:.2f} +- {:.2f} %\n", 100 * d.same_top, 100 * d.same_top_error);
  fmt::print("perplexity      {:.4f} +- {:.4f} of A, {:.4f} +- {:.4f} of B\n", d.a.value(),
             d.a.value() * d.a.error, d.b.value(), d.b.value() * d.b.error);
  fmt::print("text            {} tokens in windows of {}\n", d.a.predicted, flags.text.window);
}

// What both need at once, beside what is mapped.
void require_memory_for_both(const Model& a, const Model& b, const InstanceOptions& options) {
  const auto unmapped = [&](const Model& model) {
    const MemoryPlan plan = plan_memory(model, resolved_limits(model, options));
    return plan.total() - plan.weights;
  };
  const int64_t needed = unmapped(a) + unmapped(b), there = machine_memory();
  if (needed > there)
    throw Error(fmt::format("{} are needed beside the weights, and this machine has {}", bytes_text(needed),
                            bytes_text(there)),
                fmt::format("two models with a context of {} tokens", options.limits.context),
                "a smaller --ctx needs less");
}

int run(Flags flags) {
  flags.b.allowed = flags.a.allowed;
  flags.b.isa = flags.a.isa;
  flags.b.threads = flags.a.threads;
  const Model a = flags.a.load(), b = flags.b.load();
  const Tokenizer tokenizer = load_tokenizer(a);
  check_same_vocabulary(a, tokenizer, b, load_tokenizer(b));
  const std::vector<Token> tokens = flags.text.tokens(tokenizer);
  const InstanceOptions options = flags.text.options(flags.a);
  InstanceOptions judged = options;
  judged.limits.kv = flags.b.kv_formats();
  require_memory_for_both(a, b, options);
  Instance of_a(a, options), of_b(b, judged);
  const Divergence d = [&] {
    Progress bar("tokens", Progress::Unit::count);
    return divergence(of_a, of_b, tokens, flags.text.window, window_start(tokenizer),
                      [&](int64_t done, int64_t all) { bar.show(done, all); });
  }();
  if (flags.json)
    print_json(flags, d);
  else
    print_text(flags, d);
  return kExitOk;
}

}  // namespace

void add_kl(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("kl", "Measure how far a model's predictions are from another's");
  command
      .add_option("A", flags->a.model,
                  "The model to compare with: a .gguf file, a Hugging Face folder, or a name")
      ->required();
  command.add_option("B", flags->b.model, "The model to judge, of the same vocabulary")->required();
  flags->text.add_file(command);
  command
      .add_option("--allow-field", flags->a.allowed,
                  "Pass over this unknown config field or tensor (repeatable)")
      ->type_name("NAME");
  flags->text.add(command);
  flags->b.add_kv(command);
  flags->a.add_machine(command);
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Prints KL(A || B) of the next token over a text, in nats, and the perplexity of both.\n"
      "Examples:\n  minke kl model-f16.gguf model-q4.gguf text.txt\n  minke kl model-f16.gguf model-q2.gguf "
      "text.txt --ctx 512 --json\n  minke kl model.gguf model.gguf text.txt --kv int8    (the cache of B)");
  command.callback([flags, &action] {
    flags->a.chosen_isa();
    flags->b.kv_formats();
    action = [flags] { return run(*flags); };
  });
}

}  // namespace minke

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/engine_flags.h"
#include "cli/input.h"

namespace minke {
namespace {

struct Flags {
  EngineFlags engine;
  std::string messages, tools;
  bool json = false, no_generation_prompt = false;
};

int run(const Flags& flags) {
  const Model model = open_model(flags.engine.model.path(), flags.engine.model.load_options());
  const Tokenizer tokenizer = load_tokenizer(model);
  ChatPrompt prompt;
  try {
    prompt = read_chat_prompt(read_json_file(flags.messages));
  } catch (const Error& e) {
    throw e.subject().starts_with(flags.messages) ? e : e.within(flags.messages);
  }
  if (!flags.tools.empty()) prompt.tools = read_json_file(flags.tools);
  if (flags.no_generation_prompt) prompt.add_generation_prompt = false;
  const Json kwargs = template_kwargs(flags.engine);
  for (const auto& [key, value] : kwargs.as_object()) prompt.kwargs.set(key, value);
  const std::string own =
      flags.engine.chat_template.empty() ? "" : read_file(flags.engine.chat_template, 16 << 20);
  const ChatFormat format = chat_format(model, tokenizer, own);
  const Pieces pieces = format.render(prompt);
  const std::vector<Token> ids = tokenizer.encode(pieces);
  if (!flags.json) {
    fmt::print("{}\n", plain(pieces));
    return kExitOk;
  }
  JsonArray list, numbers;
  for (const Piece& p : pieces) list.push_back(JsonArray{p.given ? "given" : "template", p.text});
  for (const Token id : ids) numbers.push_back(Json(int64_t{id}));
  Json json;
  json.set("format", format.name());
  json.set("text", plain(pieces));
  json.set("pieces", std::move(list));
  json.set("ids", std::move(numbers));
  fmt::print("{}\n", to_string(json));
  return kExitOk;
}

}  // namespace

void add_render(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("render", "Show the prompt a conversation becomes");
  flags->engine.model.add_model(command);
  command
      .add_option("MESSAGES", flags->messages,
                  "JSON: an array of messages, or an object with messages, tools, ...")
      ->required();
  command.add_option("--tools", flags->tools, "Tool definitions, a JSON file");
  command.add_option("--chat-template", flags->engine.chat_template,
                     "A Jinja file instead of the model's own template");
  command.add_option("--template-kwargs", flags->engine.template_kwargs,
                     "Variables for the template, a JSON object");
  command.add_flag("--no-generation-prompt", flags->no_generation_prompt, "End after the last message");
  command.add_flag("--json", flags->json, "Print text, pieces (template or given) and ids as JSON");
  command.footer(
      "Examples:\n  minke render model.gguf messages.json\n  minke render model.gguf messages.json --tools "
      "tools.json --json");
  command.callback([flags, &action] {
    template_kwargs(flags->engine);
    action = [flags] { return run(*flags); };
  });
}

}  // namespace minke

#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/engine_flags.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/talker.h"
#include "model/placement.h"

namespace minke {
namespace {

constexpr int kRawTokens = 2048;  // of a server, which would stop at 16

struct Flags {
  EngineFlags engine;
  ServerFlags server;
  SamplingFlags sampling;
  TextInput prompt;
  std::string system, tools;
  bool raw = false, json = false, timing = false;
};

std::string prompt_text(const Flags& flags) {
  std::string text = flags.prompt.read();
  if (text.empty())
    throw Error("the prompt is empty", flags.prompt.source(),
                "`minke run MODEL \"PROMPT\"` asks, `minke chat MODEL` talks");
  return text;
}

ChatPrompt conversation(const Flags& flags) {
  ChatPrompt prompt;
  JsonArray messages;
  const auto add = [&](const char* role, const std::string& content) {
    messages.push_back(JsonObject{{"role", role}, {"content", content}});
  };
  if (!flags.system.empty()) add("system", flags.system);
  add("user", prompt_text(flags));
  prompt.messages = std::move(messages);
  if (!flags.tools.empty()) prompt.tools = read_json_file(flags.tools);
  prompt.kwargs = template_kwargs(flags.engine);
  return prompt;
}

// The prompt's tokens, and whether the answer starts inside of reasoning.
std::vector<Token> prompt_tokens(const Flags& flags, const Loaded& loaded, bool& reasoning) {
  if (flags.raw) {
    std::vector<Token> tokens = loaded.tokenizer.encode(prompt_text(flags));
    if (loaded.tokenizer.add_bos() && loaded.tokenizer.bos())
      tokens.insert(tokens.begin(), *loaded.tokenizer.bos());
    return tokens;
  }
  const ChatPrompt prompt = conversation(flags);
  const Pieces pieces = chat_format(loaded, flags.engine).render(prompt);
  reasoning = ends_in_reasoning(pieces);
  return loaded.tokenizer.encode(pieces);
}

Json scored(const Tokenizer& tokenizer, Token token, float logprob) {
  return JsonObject{{"token", tokenizer.decode({&token, 1})}, {"id", token}, {"logprob", double{logprob}}};
}

Json logprobs_json(const Tokenizer& tokenizer, const std::vector<Output>& outputs) {
  JsonArray list;
  for (const Output& o : outputs) {
    JsonArray top;
    for (const auto& [token, logprob] : o.logprobs.top) top.push_back(scored(tokenizer, token, logprob));
    Json entry = scored(tokenizer, o.token, o.logprobs.own);
    entry.set("top", std::move(top));
    list.push_back(std::move(entry));
  }
  return list;
}

void print_json(const Finish& f, const std::string& text, bool reasoning, const Json& logprobs) {
  Json json;
  Answer answer;
  split_reasoning(text, reasoning, answer.reasoning, answer.content);
  json.set("text", answer.content);
  if (!answer.reasoning.empty()) json.set("reasoning", answer.reasoning);
  json.set("finish_reason", name(f.reason));
  if (!f.stop.empty()) json.set("stop", f.stop);
  json.set("prompt_tokens", f.prompt_tokens);
  json.set("output_tokens", f.output_tokens);
  json.set("drafted_tokens", f.drafted_tokens);
  json.set("accepted_tokens", f.accepted_tokens);
  json.set("prefill_seconds", f.prefill_seconds);
  json.set("decode_seconds", f.decode_seconds);
  if (!logprobs.is_null()) json.set("logprobs", logprobs);
  fmt::print("{}\n", to_string(json));
}

void print_json(const ServerAnswer& a) {
  Json json = JsonObject{{"text", a.content}};
  if (!a.reasoning.empty()) json.set("reasoning", a.reasoning);
  if (!a.calls.empty()) json.set("tool_calls", a.calls);
  json.set("finish_reason", a.reason.empty() ? "cancelled" : a.reason);
  json.set("prompt_tokens", a.usage.prompt_tokens);
  json.set("cached_tokens", a.usage.cached_tokens);
  json.set("output_tokens", a.usage.output_tokens);
  fmt::print("{}\n", to_string(json));
}

int run_on_server(const Flags& flags) {
  if (flags.sampling.logprobs >= 0)
    throw Error("is not to be had from a server", "--logprobs", "its /v1/chat/completions has them");
  const ServerClient client = flags.server.client();
  const std::string model = flags.server.chosen_model(client);
  Json body = flags.raw ? server_request(model, flags.sampling)
                        : chat_request(model, flags.sampling, conversation(flags));
  if (flags.raw) {
    body.set("prompt", prompt_text(flags));
    if (flags.sampling.max_tokens < 0) body.set("max_tokens", kRawTokens);
  }
  const Interrupt interrupt(Interrupt::Second::ends);
  const auto stop = [&] { return interrupt.asked(); };
  ServerPrinter printer;
  ServerClient::Show show = printer.show(stop);
  if (flags.json) show = {{}, {}, stop};
  const ServerAnswer answer = client.answer(std::move(body), show);
  if (flags.json)
    print_json(answer);
  else
    printer.end(answer);
  if (flags.timing) fmt::print(stderr, "{}\n", timing_line(answer));
  return answer.reason.empty() ? kExitInterrupted : kExitOk;
}

int run(const Flags& flags) {
  const Loaded loaded(flags.engine);
  bool reasoning = false;
  Request request = flags.sampling.request(
      advised_sampling(loaded.model, chat_template_of(loaded.model, loaded.tokenizer)));
  request.prompt = prompt_tokens(flags, loaded, reasoning);
  Engine engine(loaded.model, loaded.tokenizer, flags.engine.options(loaded.model));
  const Interrupt interrupt(Interrupt::Second::ends);
  std::string text;
  std::vector<Output> outputs;
  if (flags.sampling.logprobs >= 0) request.output = [&](const Output& o) { outputs.push_back(o); };
  if (reasoning && !flags.json) fmt::print("<think>\n");
  const Finish finish = complete(
      engine, std::move(request),
      [&](std::string_view piece) {
        text += piece;
        if (flags.json) return;
        fmt::print("{}", piece);
        std::fflush(stdout);
      },
      [&] { return interrupt.asked(); });
  if (finish.reason == FinishReason::failed) throw Error(finish.error);
  if (flags.json)
    print_json(finish, text, reasoning,
               flags.sampling.logprobs < 0 ? Json() : logprobs_json(loaded.tokenizer, outputs));
  else if (text.empty() || text.back() != '\n')
    fmt::print("\n");
  if (flags.timing)
    fmt::print(stderr, "{}\n[weights {}]\n", timing_line(finish), residence_text(loaded.model));
  if (finish.reason == FinishReason::context && !flags.json)
    fmt::print(stderr, "minke: the context of {} tokens is full; --ctx makes it larger\n", engine.context());
  return finish.reason == FinishReason::cancelled ? kExitInterrupted : kExitOk;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("run", "Answer one prompt");
  flags->engine.add(command);
  flags->server.add(command);
  flags->prompt.add(command, "PROMPT", "What to ask");
  command.add_option("--system", flags->system, "A system message");
  command.add_option("--tools", flags->tools, "Tool definitions for the template, a JSON file");
  command.add_flag("--raw", flags->raw, "Continue the text as it is, without a chat format");
  CLI::Option* json =
      command.add_flag("--json", flags->json, "Print JSON at the end instead of text as it comes");
  command
      .add_option("--logprobs", flags->sampling.logprobs,
                  "With --json: each token's log-probability, and the N likeliest in its place")
      ->type_name("N")
      ->check(CLI::Range(0, 1000))
      ->needs(json);
  command.add_flag("--timing", flags->timing, "Print a line of rates to standard error");
  flags->sampling.add(command);
  command.footer(
      "Examples:\n  minke run model.gguf \"What is the capital of France?\"\n"
      "  minke run model.gguf --raw --max-tokens 40 \"def fibonacci(n):\"\n"
      "  minke run model.gguf --json --logprobs 5 -n 8 \"The sky is\"\n"
      "  minke run --server http://127.0.0.1:6710 \"What is the capital of France?\"\n"
      "  git diff | minke run model.gguf --system \"Review this change.\"");
  command.callback([flags, &action] {
    // Then there is no MODEL before the words of the prompt.
    if (flags->server.given() && !flags->engine.model.model.empty())
      flags->prompt.words.insert(flags->prompt.words.begin(), std::exchange(flags->engine.model.model, {}));
    flags->server.check(flags->engine);
    flags->sampling.check();
    if (flags->prompt.would_wait())
      throw CLI::RequiredError("PROMPT is required: what to ask; `minke chat` talks",
                               CLI::ExitCodes::RequiredError);
    action = [flags] { return flags->server.given() ? run_on_server(*flags) : run(*flags); };
  });
}

}  // namespace minke

#include "cli/server_flags.h"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/environment.h"
#include "hub/environment.h"

namespace minke {

void ServerFlags::add(CLI::App& command) {
  for (const CLI::Option* option : command.get_options())
    if (const std::string& name = option->get_name();
        name != "--help" && name != "--template-kwargs" && name != "MODEL")
      engine_options_.push_back(option);
  command.get_option("MODEL")->required(false);
  const auto group = "Server";
  command
      .add_option(
          "--server", url,
          "Ask the server at this URL instead of a model here: minke serve, or another that speaks OpenAI's "
          "dialect")
      ->type_name("URL")
      ->group(group);
  command.add_option("--api-key", key, "Its key (default: the variable MINKE_API_KEY)")->group(group);
  command.add_option("--model", model, "Which of its models (default: the first)")
      ->type_name("NAME")
      ->group(group);
}

void ServerFlags::check(const EngineFlags& engine) const {
  if (!given()) {
    if (!key.empty()) throw Error("is for --server", "--api-key");
    if (!model.empty()) throw Error("is for --server", "--model", "MODEL is the first argument");
    if (engine.model.model.empty())
      throw CLI::RequiredError("MODEL is required", CLI::ExitCodes::RequiredError);
    return engine.check();
  }
  template_kwargs(engine);
  for (const CLI::Option* option : engine_options_)
    if (option->count() > 0)
      throw Error("has no meaning with --server", option->get_name(), "the server was started with its own");
}

ServerClient ServerFlags::client() const {
  HttpOptions options;
  options.proxies = hub_options(variable).http.proxies;
  return {{url, key.empty() ? variable("MINKE_API_KEY").value_or("") : key}, std::move(options)};
}

std::string ServerFlags::chosen_model(const ServerClient& client) const {
  const std::vector<std::string> there = client.models();
  if (model.empty()) return there.front();
  if (std::ranges::count(there, model) == 0)
    throw Error(fmt::format("{} has no model '{}'", client.url(), model), "--model",
                fmt::format("it has {}", fmt::join(there, ", ")));
  return model;
}

Json server_request(const std::string& model, const SamplingFlags& flags) {
  Json body = JsonObject{{"model", model}};
  const auto set = [&](const char* name, const auto& value) {
    if (value) body.set(name, double{*value});
  };
  set("temperature", flags.temperature);
  set("top_p", flags.top_p);
  set("min_p", flags.min_p);
  set("typical_p", flags.typical_p);
  set("repetition_penalty", flags.repetition_penalty);
  set("presence_penalty", flags.presence_penalty);
  set("frequency_penalty", flags.frequency_penalty);
  if (flags.top_k) body.set("top_k", *flags.top_k);
  if (flags.seed) body.set("seed", *flags.seed);
  if (flags.max_tokens > 0) body.set("max_tokens", flags.max_tokens);
  if (!flags.stop.empty()) body.set("stop", JsonArray(flags.stop.begin(), flags.stop.end()));
  if (!flags.stop_tokens.empty())
    body.set("stop_token_ids", JsonArray(flags.stop_tokens.begin(), flags.stop_tokens.end()));
  if (flags.ignore_end) body.set("ignore_eos", true);
  Json biases = JsonObject{};
  for (const auto& [token, bias] : flags.request({}).sampling.logit_bias)
    biases.set(std::to_string(token), double{bias});
  if (!biases.as_object().empty()) body.set("logit_bias", std::move(biases));
  return body;
}

Json chat_request(const std::string& model, const SamplingFlags& sampling, const ChatPrompt& prompt) {
  Json body = server_request(model, sampling);
  body.set("messages", prompt.messages);
  if (!prompt.tools.is_null()) body.set("tools", prompt.tools);
  if (!prompt.kwargs.as_object().empty()) body.set("chat_template_kwargs", prompt.kwargs);
  return body;
}

std::string timing_line(const ServerAnswer& a) {
  const double decoding = a.all_seconds - a.first_seconds;
  const double rate = a.usage.output_tokens > 1 && decoding > 0 ? (a.usage.output_tokens - 1) / decoding : 0;
  std::string line = fmt::format("[{} tokens, {:.1f} tok/s; prompt {} tokens", a.usage.output_tokens, rate,
                                 a.usage.prompt_tokens);
  if (a.usage.cached_tokens > 0) line += fmt::format(", {} cached", a.usage.cached_tokens);
  return line + fmt::format(", {:.2f} s]", a.first_seconds);
}

}  // namespace minke

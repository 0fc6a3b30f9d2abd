#include "text/chat.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "text/chat_built_in.h"
#include "text/deepseek_v32.h"
#include "text/tokenizer.h"

namespace minke {
namespace {

constexpr std::string_view kV32 = "deepseek-v3.2";
constexpr std::string_view kV32Architectures[] = {"deepseek_v32", "deepseek32", "DeepseekV32ForCausalLM"};

JsonArray formed(const ChatFormat& format, const ChatPrompt& prompt, MessageForm form) {
  const JsonArray& messages = prompt.messages.as_array();
  if (form == MessageForm::as_given) return messages;
  if (form == MessageForm::transformers) return like_transformers(messages);
  return adapt_messages(messages, format.traits());
}

bool flag(const Json& kwargs, std::string_view name, bool otherwise) {
  const Json* value = kwargs.find(name);
  if (!value || value->is_null()) return otherwise;
  if (!value->is_bool())
    throw Error(fmt::format("expected true or false, found {}", value->type_name()),
                fmt::format("kwargs.{}", name));
  return value->as_bool();
}

}  // namespace

ChatHints chat_hints(const Tokenizer& tokenizer, std::string architecture) {
  const auto text_of = [&](std::optional<Token> id) {
    return id ? std::string(tokenizer.bytes(*id)) : std::string();
  };
  return {.architecture = std::move(architecture),
          .has_token = [&tokenizer](std::string_view text) { return tokenizer.has_added(text); },
          .tokens = {text_of(tokenizer.bos()), text_of(tokenizer.eos()), {}}};
}

ChatFormat ChatFormat::choose(std::string_view chat_template, const ChatHints& hints) {
  if (!chat_template.empty()) {
    try {
      return from_template(chat_template, hints.tokens);
    } catch (const Error& e) {
      throw Error(e.happened(), e.subject(), "--chat-template FILE uses another one");
    }
  }
  const auto* const end = std::end(kV32Architectures);
  if (std::find(std::begin(kV32Architectures), end, hints.architecture) != end)
    return built_in(kV32, hints.tokens);
  const std::string_view name = recognise_format(hints.has_token);
  if (!name.empty()) return built_in(name, hints.tokens);
  throw Error("the model has no chat template, and its tokens are of no format known here", "chat template",
              "--chat-template FILE gives one");
}

ChatFormat ChatFormat::from_template(std::string_view source, SpecialTokens tokens, std::string name) {
  ChatFormat format;
  format.template_ = jinja::Template::parse(source, name);
  format.source_ = std::make_shared<const std::string>(source);
  format.name_ = std::move(name);
  format.tokens_ = std::move(tokens);
  format.probe();
  return format;
}

ChatFormat ChatFormat::built_in(std::string_view name, SpecialTokens tokens) {
  for (const BuiltInTemplate& built_in : built_in_templates())
    if (built_in.name == name)
      return from_template(fmt::format("{}{}", built_in.settings, built_in.body), std::move(tokens),
                           std::string(name));
  if (name != kV32)
    throw Error(fmt::format("unknown chat format '{}'", name), {},
                fmt::format("known are {}", fmt::join(built_in_names(), ", ")));
  ChatFormat format;
  format.name_ = kV32;
  format.tokens_ = std::move(tokens);
  return format;
}

std::vector<std::string_view> ChatFormat::built_in_names() {
  std::vector<std::string_view> names;
  for (const BuiltInTemplate& built_in : built_in_templates()) names.push_back(built_in.name);
  names.push_back(kV32);
  return names;
}

void ChatFormat::probe() {
  ChatRenderOptions options;
  options.now = std::tm{};
  options.now->tm_mday = 1;
  options.now->tm_year = 100;
  options.limits.steps = 1'000'000;
  traits_ = probe_template([&](const JsonArray& messages, const Json& tools) {
    ChatPrompt prompt;
    prompt.tools = tools;
    return plain(render_template(messages, prompt, options));
  });
}

Pieces ChatFormat::render(const ChatPrompt& prompt, const ChatRenderOptions& options,
                          std::vector<TextRun>* generated) const {
  const JsonArray messages = formed(*this, prompt, options.form);
  if (generated) generated->clear();
  return template_ ? render_template(messages, prompt, options, generated) : render_v32(messages, prompt);
}

Pieces ChatFormat::render_template(const JsonArray& messages, const ChatPrompt& prompt,
                                   const ChatRenderOptions& options, std::vector<TextRun>* generated) const {
  Json context(JsonObject{});
  const std::pair<std::string_view, const std::string&> tokens[] = {
      {"bos_token", tokens_.bos}, {"eos_token", tokens_.eos}, {"pad_token", tokens_.pad}};
  for (const auto& [name, text] : tokens)
    if (!text.empty()) context.set(name, text);
  context.set("messages", messages);
  context.set("tools", prompt.tools);
  context.set("documents", prompt.documents);
  context.set("add_generation_prompt", prompt.add_generation_prompt);
  jinja::RenderOptions render_options{.now = options.now, .limits = options.limits};
  for (const auto& [name, value] : prompt.kwargs.as_object()) {
    const Json* present = context.find(name);
    if (present && *present == value) continue;
    // A user's text must not become the template's own, which it would under a token's name.
    const auto& own = render_options.own;
    if (present || std::find(own.begin(), own.end(), name) != own.end())
      throw Error("this variable is not the request's to set", fmt::format("kwargs.{}", name));
    context.set(name, value);
  }
  return template_->render(context, render_options, generated);
}

Pieces ChatFormat::render_v32(const JsonArray& messages, const ChatPrompt& prompt) const {
  for (const auto& [name, value] : prompt.kwargs.as_object())
    if (name != "thinking" && name != "enable_thinking" && name != "drop_thinking")
      throw Error(fmt::format("{}'s format knows no such variable", kV32), fmt::format("kwargs.{}", name),
                  "known are thinking, enable_thinking, drop_thinking");
  if (!prompt.documents.is_null() && !(prompt.documents.is_array() && prompt.documents.as_array().empty()))
    throw Error(fmt::format("{}'s format has no documents", kV32), "documents");
  V32Options options;
  const bool thinks = flag(prompt.kwargs, "thinking", flag(prompt.kwargs, "enable_thinking", false));
  options.mode = thinks ? ThinkingMode::thinking : ThinkingMode::chat;
  options.drop_thinking = flag(prompt.kwargs, "drop_thinking", true);
  options.add_generation_prompt = prompt.add_generation_prompt;
  return render_deepseek_v32(with_tools(messages, prompt.tools), options);
}

bool ends_in_reasoning(const Pieces& prompt) {
  if (prompt.empty() || prompt.back().given) return false;
  const std::string_view last = prompt.back().text;
  return last.substr(0, last.find_last_not_of(" \t\r\n") + 1).ends_with("<think>");
}

}  // namespace minke

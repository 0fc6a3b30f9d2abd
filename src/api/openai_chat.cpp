// OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat

#include <algorithm>
#include <utility>

#include "api/openai.h"
#include "base/error.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr auto kHarmless = Treatment::harmless;
constexpr auto kRefused = Treatment::refused;
constexpr std::string_view kNotEnforced = "constraints on the answer cannot be enforced";

constexpr Field kFields[] = {
    {"messages"},
    {"model"},
    {"tools"},
    {"tool_choice"},
    {"parallel_tool_calls"},
    {"stream"},
    {"stream_options"},
    {"n"},
    {"seed"},
    {"temperature"},
    {"top_p"},
    {"top_k"},
    {"min_p"},
    {"typical_p"},
    {"repetition_penalty"},
    {"presence_penalty"},
    {"frequency_penalty"},
    {"logit_bias"},
    {"logprobs"},
    {"top_logprobs"},
    {"stop"},
    {"stop_token_ids"},
    {"ignore_eos"},
    {"cache_salt"},
    {"max_tokens"},
    {"max_completion_tokens"},
    {"documents"},
    {"chat_template_kwargs"},
    {"enable_thinking"},
    {"reasoning_effort"},
    {"user", kHarmless},
    {"metadata", kHarmless},
    {"store", kHarmless, {}, "nothing is stored"},
    {"service_tier", kHarmless},
    {"safety_identifier", kHarmless},
    {"prompt_cache_key", kHarmless, {}, "the cache finds prefixes by itself"},
    {"prompt_cache_retention", kHarmless},
    {"cache_prompt", kHarmless},
    {"prediction", kHarmless, {}, "a way to be faster, not another answer"},
    {"verbosity", kHarmless, {}, "a hint"},
    {"priority", kHarmless},
    {"request_id", kHarmless},
    {"response_format", kRefused, R"({"type":"text"})", kNotEnforced},
    {"structured_outputs", kRefused, {}, kNotEnforced},
    {"guided_json", kRefused, {}, kNotEnforced},
    {"guided_regex", kRefused, {}, kNotEnforced},
    {"guided_choice", kRefused, {}, kNotEnforced},
    {"guided_grammar", kRefused, {}, kNotEnforced},
    {"json_schema", kRefused, {}, kNotEnforced},
    {"grammar", kRefused, {}, kNotEnforced},
    {"functions", kRefused, "[]", "use tools"},
    {"function_call", kRefused, R"("none")", "use tool_choice"},
    {"modalities", kRefused, R"(["text"])", "answers are text"},
    {"audio", kRefused, {}, "answers are text"},
    {"web_search_options", kRefused, {}, "nothing is searched"},
    {"best_of", kRefused, "1"},
    {"use_beam_search", kRefused, "false"},
    {"min_tokens", kRefused, "0"},
    {"length_penalty", kRefused, "1"},
    {"prompt_logprobs", kRefused},
    {"echo", kRefused, "false"},
    {"add_generation_prompt", kRefused, "true"},
    {"continue_final_message", kRefused, "false"},
};

constexpr Field kStreamOptions[] = {
    {"include_usage"}, {"include_obfuscation", kHarmless}, {"continuous_usage_stats", kRefused, "false"}};

double finite(float logprob) { return std::max(logprob, -9999.0f); }

Json scored(const std::string& bytes, float logprob) {
  JsonArray list;
  for (const char c : bytes) list.push_back(int{static_cast<unsigned char>(c)});
  return JsonObject{{"token", mend_utf8(bytes)}, {"logprob", finite(logprob)}, {"bytes", std::move(list)}};
}

Json logprobs_json(const std::vector<TokenLogprob>& all) {
  JsonArray content;
  for (const TokenLogprob& one : all) {
    Json entry = scored(one.bytes, one.logprob);
    JsonArray top;
    for (const auto& [bytes, logprob] : one.top) top.push_back(scored(bytes, logprob));
    entry.set("top_logprobs", std::move(top));
    content.push_back(std::move(entry));
  }
  return JsonObject{{"content", std::move(content)}, {"refusal", Json()}};
}

const char* finish_reason(EndReason reason) {
  switch (reason) {
    case EndReason::stop: return "stop";
    case EndReason::calls: return "tool_calls";
    default: return "length";
  }
}

class ChatWriter final : public AnswerWriter {
 public:
  ChatWriter(std::string model, int choices, bool logprobs, bool usage)
      : model_(std::move(model)),
        choices_(static_cast<size_t>(choices)),
        with_logprobs_(logprobs),
        with_usage_(usage) {}

  std::string begin() override {
    std::string out;
    for (size_t i = 0; i < choices_.size(); ++i)
      out += chunk(static_cast<int>(i), JsonObject{{"role", "assistant"}, {"content", ""}});
    return out;
  }

  std::string event(const CompletionEvent& event) override {
    switch (event.kind) {
      case CompletionEvent::Kind::start: return {};
      case CompletionEvent::Kind::part: return part(event);
      case CompletionEvent::Kind::end: return end(event);
      case CompletionEvent::Kind::done: usage_ = event.usage; return done();
      case CompletionEvent::Kind::failed: return sse(to_string(openai_fault(event.fault)));
    }
    return {};
  }

  Json whole() const override {
    JsonArray list;
    for (const CollectedChoice& choice : choices_) {
      Json message = JsonObject{{"role", "assistant"}};
      message.set("content", choice.content.empty() && !choice.calls.empty() ? Json() : Json(choice.content));
      message.set("refusal", Json());
      if (!choice.reasoning.empty()) message.set("reasoning_content", choice.reasoning);
      if (!choice.calls.empty()) message.set("tool_calls", calls_json(choice));
      Json entry = JsonObject{{"index", static_cast<int64_t>(list.size())},
                              {"message", std::move(message)},
                              {"logprobs", with_logprobs_ ? logprobs_json(choice.logprobs) : Json()},
                              {"finish_reason", finish_reason(choice.reason)}};
      if (!choice.malformed_call.empty()) entry.set("malformed_tool_call", choice.malformed_call);
      list.push_back(std::move(entry));
    }
    Json json = frame("chat.completion");
    json.set("choices", std::move(list));
    json.set("usage", openai_usage(usage_));
    return json;
  }

 private:
  static Json calls_json(const CollectedChoice& choice) {
    JsonArray calls;
    for (const CollectedCall& call : choice.calls)
      calls.push_back(
          JsonObject{{"id", call.id},
                     {"type", "function"},
                     {"function", JsonObject{{"name", call.name}, {"arguments", call.arguments}}}});
    return calls;
  }

  Json frame(const char* object) const {
    return JsonObject{{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}};
  }

  std::string chunk(int choice, Json delta, Json reason = {}, Json logprobs = {}, Json extra = {}) const {
    Json entry = JsonObject{{"index", choice},
                            {"delta", std::move(delta)},
                            {"logprobs", std::move(logprobs)},
                            {"finish_reason", std::move(reason)}};
    if (extra.is_object())
      for (const auto& [key, value] : extra.as_object()) entry.set(key, value);
    Json json = frame("chat.completion.chunk");
    json.set("choices", JsonArray{std::move(entry)});
    if (with_usage_) json.set("usage", Json());
    return sse(to_string(json));
  }

  std::string part(const CompletionEvent& event) {
    CollectedChoice& choice = choices_[static_cast<size_t>(event.choice)];
    Json logprobs = with_logprobs_ && !event.logprobs.empty() ? logprobs_json(event.logprobs) : Json();
    choice.logprobs.insert(choice.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
    std::string out;
    for (const AnswerEvent& p : event.parts) {
      choice.add(p, "call_");
      if (Json delta = delta_of(p, choice); delta.is_object())
        out += chunk(event.choice, std::move(delta), {}, std::exchange(logprobs, {}));
    }
    if (!logprobs.is_null()) out += chunk(event.choice, JsonObject{}, {}, std::move(logprobs));
    return out;
  }

  // Null where nothing is to be said.
  static Json delta_of(const AnswerEvent& p, const CollectedChoice& choice) {
    const auto call = [&](Json fields) {
      fields.set("index", p.index);
      return Json(JsonObject{{"tool_calls", JsonArray{std::move(fields)}}});
    };
    switch (p.kind) {
      case AnswerEvent::Kind::reasoning: return JsonObject{{"reasoning_content", p.text}};
      case AnswerEvent::Kind::content: return JsonObject{{"content", p.text}};
      case AnswerEvent::Kind::call:
        return call(JsonObject{{"id", choice.calls.back().id},
                               {"type", "function"},
                               {"function", JsonObject{{"name", p.text}, {"arguments", ""}}}});
      case AnswerEvent::Kind::arguments:
        return call(JsonObject{{"function", JsonObject{{"arguments", p.text}}}});
      default: return {};
    }
  }

  std::string end(const CompletionEvent& event) {
    CollectedChoice& choice = choices_[static_cast<size_t>(event.choice)];
    choice.end(event);
    Json extra;
    if (!choice.malformed_call.empty()) extra.set("malformed_tool_call", choice.malformed_call);
    return chunk(event.choice, JsonObject{}, finish_reason(event.reason), {}, std::move(extra));
  }

  std::string done() const {
    std::string out;
    if (with_usage_) {
      Json json = frame("chat.completion.chunk");
      json.set("choices", JsonArray{});
      json.set("usage", openai_usage(usage_));
      out = sse(to_string(json));
    }
    return out + sse("[DONE]");
  }

  const std::string id_ = new_id("chatcmpl-"), model_;
  const int64_t created_ = unix_time();
  std::vector<CollectedChoice> choices_;
  const bool with_logprobs_, with_usage_;
  Usage usage_;
};

ChatPrompt read_prompt(const FieldReader& fields) {
  ChatPrompt prompt;
  prompt.messages = fields.require("messages");
  if (const JsonArray* tools = fields.array("tools"); tools && !tools->empty()) prompt.tools = *tools;
  if (const JsonArray* documents = fields.array("documents")) prompt.documents = *documents;
  if (const Json* kwargs = fields.object("chat_template_kwargs")) prompt.kwargs = *kwargs;
  if (const auto thinking = fields.flag("enable_thinking")) prompt.kwargs.set("enable_thinking", *thinking);
  if (const auto effort = fields.text("reasoning_effort")) {
    prompt.kwargs.set("reasoning_effort", *effort);
    if (*effort == "none" && !prompt.kwargs.find("enable_thinking"))
      prompt.kwargs.set("enable_thinking", false);
  }
  check_messages(prompt.messages);
  check_tools(prompt.tools);
  if (prompt.tools.is_array())
    for (size_t i = 0; i < prompt.tools.as_array().size(); ++i)
      refuse_strict(prompt.tools.as_array()[i].at("function"), fmt::format("tools[{}].function", i));
  return prompt;
}

}  // namespace

std::span<const Field> chat_fields() { return kFields; }

Exchange read_chat(const Json& body, const ModelCard& card) {
  check_fields(body, kFields);
  const FieldReader fields(body);
  Exchange exchange;
  CompletionRequest& request = exchange.request;
  exchange.model = fields.text("model").value_or("");
  exchange.stream = fields.flag("stream").value_or(false);
  bool usage = false;
  if (const Json* options = fields.object("stream_options")) {
    check_fields(*options, kStreamOptions, "stream_options");
    usage = FieldReader(*options, "stream_options").flag("include_usage").value_or(false);
  }
  request.chat = read_prompt(fields);
  read_sampling(fields, request);
  request.tool_choice = read_tool_choice(fields, "function");
  request.parallel_calls = fields.flag("parallel_tool_calls").value_or(true);
  const auto old_most = fields.integer("max_tokens", 1, INT32_MAX);
  if (const auto most = fields.integer("max_completion_tokens", 1, INT32_MAX); most || old_most)
    request.max_tokens = static_cast<int>(most ? *most : *old_most);
  const auto top = fields.integer("top_logprobs", 0, kMostLogprobs);
  const bool logprobs = fields.flag("logprobs").value_or(false);
  if (top && !logprobs) throw Error("needs logprobs: true", "top_logprobs");
  if (logprobs) request.sampling.logprobs = static_cast<int>(top.value_or(0));
  exchange.writer = std::make_unique<ChatWriter>(card.name, request.choices(), logprobs, usage);
  return exchange;
}

}  // namespace minke

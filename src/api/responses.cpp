#include "api/responses.h"

#include <map>
#include <utility>

#include "api/openai.h"
#include "api/responses_request.h"
#include "base/error.h"

namespace minke {
namespace {

constexpr auto kHarmless = Treatment::harmless;
constexpr auto kRefused = Treatment::refused;

constexpr Field kFields[] = {
    {"input"},
    {"model"},
    {"instructions"},
    {"previous_response_id"},
    {"store"},
    {"stream"},
    {"max_output_tokens"},
    {"temperature"},
    {"top_p"},
    {"tools"},
    {"tool_choice"},
    {"parallel_tool_calls"},
    {"reasoning", Treatment::honoured, {}, "an effort is a variable of the template; summaries are not made"},
    {"text", Treatment::honoured, {}, "a format other than text is refused"},
    {"metadata"},
    {"user", kHarmless},
    {"stream_options", kHarmless},
    {"include", Treatment::honoured, {}, "nothing further is there to be included; logprobs are refused"},
    {"service_tier", kHarmless},
    {"safety_identifier", kHarmless},
    {"prompt_cache_key", kHarmless, {}, "the cache finds prefixes by itself"},
    {"prompt_cache_retention", kHarmless},
    {"client_metadata", kHarmless},
    {"max_tool_calls", kHarmless, {}, "of tools that a server runs"},
    {"truncation", kRefused, R"("disabled")", "nothing is left out of a conversation"},
    {"background", kRefused, "false"},
    {"conversation", kRefused, {}, "use previous_response_id"},
    {"prompt", kRefused, {}, "prompts are not stored"},
    {"context_management", kRefused, "[]"},
    {"top_logprobs", kRefused, "0", "chat completions have them"},
};
constexpr Field kText[] = {
    {"format", kRefused, R"({"type":"text"})", "constraints on the answer cannot be enforced"},
    {"verbosity", kHarmless, {}, "a hint"}};
constexpr Field kReasoning[] = {{"effort"}, {"summary", kHarmless}, {"generate_summary", kHarmless}};

class ResponseWriter final : public AnswerWriter {
 public:
  // `settings`: what a response says of its request.
  ResponseWriter(std::string id, Json settings, std::map<std::string, std::string> namespaces)
      : id_(std::move(id)), settings_(std::move(settings)), namespaces_(std::move(namespaces)) {}

  std::string begin() override {
    const Json response = json("in_progress");
    std::string out = send("response.created", {{"response", response}});
    out += send("response.in_progress", {{"response", response}});
    return out;
  }

  std::string event(const CompletionEvent& event) override {
    switch (event.kind) {
      case CompletionEvent::Kind::start: return {};
      case CompletionEvent::Kind::part: {
        std::string out;
        for (const AnswerEvent& p : event.parts) out += part(p);
        return out;
      }
      case CompletionEvent::Kind::end:
        choice_.end(event);
        return close(event.reason == EndReason::length ? "incomplete" : "completed");
      case CompletionEvent::Kind::done: {
        usage_ = event.usage;
        const std::string status = this->status();
        return send("response." + status, {{"response", json(status)}});
      }
      case CompletionEvent::Kind::failed: {
        Json failed = json("failed");
        failed.set("error", JsonObject{{"code", "server_error"}, {"message", event.fault.message}});
        return send("response.failed", {{"response", std::move(failed)}});
      }
    }
    return {};
  }

  Json whole() const override { return json(status()); }

  Json message() const {
    Json message = JsonObject{{"role", "assistant"}, {"content", choice_.content}};
    if (!choice_.reasoning.empty()) message.set("reasoning_content", choice_.reasoning);
    JsonArray calls;
    for (const CollectedCall& call : choice_.calls)
      calls.push_back(
          JsonObject{{"id", call.id},
                     {"type", "function"},
                     {"function", JsonObject{{"name", call.name}, {"arguments", call.arguments}}}});
    if (!calls.empty()) message.set("tool_calls", std::move(calls));
    return message;
  }

 private:
  enum class Open : uint8_t { nothing, reasoning, message, call };

  std::string status() const {
    return choice_.reason == EndReason::stop || choice_.reason == EndReason::calls ? "completed"
                                                                                   : "incomplete";
  }

  Json json(const std::string& status) const {
    Json json = JsonObject{{"id", id_}, {"object", "response"}, {"created_at", created_}, {"status", status}};
    json.set("error", Json());
    json.set("incomplete_details",
             status == "incomplete" ? Json(JsonObject{{"reason", "max_output_tokens"}}) : Json());
    for (const auto& [key, value] : settings_.as_object()) json.set(key, value);
    json.set("output", output_);
    const bool ended = status == "completed" || status == "incomplete";
    json.set("usage", ended ? usage_json() : Json());
    return json;
  }

  Json usage_json() const {
    return JsonObject{{"input_tokens", usage_.prompt_tokens},
                      {"input_tokens_details", JsonObject{{"cached_tokens", usage_.cached_tokens}}},
                      {"output_tokens", usage_.output_tokens},
                      {"output_tokens_details", JsonObject{{"reasoning_tokens", usage_.reasoning_tokens}}},
                      {"total_tokens", usage_.prompt_tokens + usage_.output_tokens}};
  }

  std::string send(const std::string& type, JsonObject members) {
    JsonObject json{{"type", type}, {"sequence_number", sequence_++}};
    for (JsonMember& member : members) json.push_back(std::move(member));
    return sse(type, to_string(std::move(json)));
  }

  // Of an event about the item that is open, or a part of it.
  std::string send_of_item(const std::string& type, JsonObject members) {
    JsonObject json{{"item_id", item_.at("id")}, {"output_index", static_cast<int64_t>(output_.size())}};
    if (open_ != Open::call) json.emplace_back("content_index", 0);
    for (JsonMember& member : members) json.push_back(std::move(member));
    return send(type, std::move(json));
  }

  std::string open(Open what, Json item) {
    std::string out = close("completed");
    open_ = what;
    item_ = std::move(item);
    text_.clear();
    out += send("response.output_item.added",
                {{"output_index", static_cast<int64_t>(output_.size())}, {"item", item_}});
    if (what != Open::call) out += send_of_item("response.content_part.added", {{"part", content_part()}});
    return out;
  }

  Json content_part() const {
    if (open_ == Open::reasoning) return JsonObject{{"type", "reasoning_text"}, {"text", text_}};
    return JsonObject{
        {"type", "output_text"}, {"text", text_}, {"annotations", JsonArray{}}, {"logprobs", JsonArray{}}};
  }

  std::string text(const std::string& more) {
    text_ += more;
    if (open_ == Open::reasoning) return send_of_item("response.reasoning_text.delta", {{"delta", more}});
    if (open_ == Open::call) return send_of_item("response.function_call_arguments.delta", {{"delta", more}});
    return send_of_item("response.output_text.delta", {{"delta", more}, {"logprobs", JsonArray{}}});
  }

  std::string part(const AnswerEvent& p) {
    choice_.add(p, "call_");
    std::string out;
    switch (p.kind) {
      case AnswerEvent::Kind::reasoning:
        if (open_ != Open::reasoning)
          out = open(Open::reasoning, JsonObject{{"id", new_id("rs_")},
                                                 {"type", "reasoning"},
                                                 {"summary", JsonArray{}},
                                                 {"content", JsonArray{}},
                                                 {"status", "in_progress"}});
        return out + text(p.text);
      case AnswerEvent::Kind::content:
        if (open_ != Open::message)
          out = open(Open::message, JsonObject{{"id", new_id("msg_")},
                                               {"type", "message"},
                                               {"role", "assistant"},
                                               {"content", JsonArray{}},
                                               {"status", "in_progress"}});
        return out + text(p.text);
      case AnswerEvent::Kind::call: {
        Json item =
            JsonObject{{"id", new_id("fc_")}, {"type", "function_call"}, {"call_id", choice_.calls.back().id},
                       {"name", p.text},      {"arguments", ""},         {"status", "in_progress"}};
        const auto within = namespaces_.find(p.text);
        if (within != namespaces_.end() && !within->second.empty()) item.set("namespace", within->second);
        return open(Open::call, std::move(item));
      }
      case AnswerEvent::Kind::arguments: return text(p.text);
      case AnswerEvent::Kind::call_end: return close("completed");
      case AnswerEvent::Kind::call_broken: open_ = Open::nothing; return {};  // its item never is done
    }
    return out;
  }

  std::string close(const char* status) {
    if (open_ == Open::nothing) return {};
    std::string out;
    if (open_ == Open::call) {
      item_.set("arguments", text_);
      out = send_of_item("response.function_call_arguments.done",
                         {{"name", item_.at("name")}, {"arguments", text_}});
    } else {
      const bool reasoning = open_ == Open::reasoning;
      JsonObject whole{{"text", text_}};
      if (!reasoning) whole.emplace_back("logprobs", JsonArray{});
      out = send_of_item(reasoning ? "response.reasoning_text.done" : "response.output_text.done",
                         std::move(whole));
      out += send_of_item("response.content_part.done", {{"part", content_part()}});
      item_.set("content", JsonArray{content_part()});
    }
    item_.set("status", status);
    out += send("response.output_item.done",
                {{"output_index", static_cast<int64_t>(output_.size())}, {"item", item_}});
    output_.push_back(std::exchange(item_, Json()));
    open_ = Open::nothing;
    return out;
  }

  const std::string id_;
  const Json settings_;
  const std::map<std::string, std::string> namespaces_;  // of functions
  const int64_t created_ = unix_time();
  int64_t sequence_ = 0;
  CollectedChoice choice_;
  Usage usage_;
  Open open_ = Open::nothing;
  Json item_;
  std::string text_;  // of the item that is open
  JsonArray output_;
};

// What a response repeats of its request.
Json settings_of(const Json& body, const ModelCard& card, bool store) {
  Json settings = JsonObject{{"model", card.name}};
  const auto repeat = [&](std::string_view name, Json otherwise) {
    const Json* given = body.find(name);
    settings.set(name, given && !given->is_null() ? *given : std::move(otherwise));
  };
  for (const char* name :
       {"instructions", "max_output_tokens", "previous_response_id", "temperature", "top_p"})
    repeat(name, Json());
  repeat("metadata", JsonObject{});
  repeat("parallel_tool_calls", true);
  repeat("reasoning", JsonObject{{"effort", Json()}, {"summary", Json()}});
  repeat("text", JsonObject{{"format", JsonObject{{"type", "text"}}}});
  repeat("tool_choice", "auto");
  repeat("tools", JsonArray{});
  settings.set("store", store);
  settings.set("truncation", "disabled");
  return settings;
}

void read_settings(const FieldReader& fields, CompletionRequest& request) {
  if (const auto t = fields.number("temperature", 0, 100))
    request.sampling.temperature = static_cast<float>(*t);
  if (const auto p = fields.number("top_p", 0, 1)) request.sampling.top_p = static_cast<float>(*p);
  if (const auto most = fields.integer("max_output_tokens", 1, INT32_MAX))
    request.max_tokens = static_cast<int>(*most);
  request.tool_choice = read_tool_choice(fields, {});
  request.parallel_calls = fields.flag("parallel_tool_calls").value_or(true);
  if (const JsonArray* include = fields.array("include"))
    for (const Json& what : *include)
      if (what == Json("message.output_text.logprobs"))
        throw Error("log-probabilities are not supported here", "include", "chat completions have them");
  if (const Json* text = fields.object("text")) check_fields(*text, kText, "text");
  if (const Json* reasoning = fields.object("reasoning")) {
    check_fields(*reasoning, kReasoning, "reasoning");
    if (const auto effort = FieldReader(*reasoning, "reasoning").text("effort")) {
      request.chat->kwargs.set("reasoning_effort", *effort);
      if (*effort == "none") request.chat->kwargs.set("enable_thinking", false);
    }
  }
}

}  // namespace

std::span<const Field> responses_fields() { return kFields; }

ResponsesExchange read_responses(const Json& body, const ModelCard& card, const EarlierMessages& earlier) {
  check_fields(body, kFields);
  const FieldReader fields(body);
  ResponsesExchange made;
  made.id = new_id("resp_");
  made.store = fields.flag("store").value_or(true);
  made.exchange.model = fields.text("model").value_or("");
  made.exchange.stream = fields.flag("stream").value_or(false);
  const JsonArray input = read_input(fields.require("input"));
  JsonArray messages;
  if (const auto previous = fields.text("previous_response_id")) messages = earlier(*previous).as_array();
  messages.insert(messages.end(), input.begin(), input.end());
  made.messages = messages;
  if (const auto instructions = fields.text("instructions"); instructions && !instructions->empty())
    messages.insert(messages.begin(), JsonObject{{"role", "system"}, {"content", *instructions}});
  CompletionRequest& request = made.exchange.request;
  request.chat.emplace();
  request.chat->messages = std::move(messages);
  ResponseTools tools;
  if (const JsonArray* given = fields.array("tools")) tools = read_response_tools(*given);
  request.chat->tools = std::move(tools.functions);
  check_messages(request.chat->messages);
  check_tools(request.chat->tools);
  read_settings(fields, request);
  auto writer = std::make_unique<ResponseWriter>(made.id, settings_of(body, card, made.store),
                                                 std::move(tools.namespaces));
  made.message = [w = writer.get()] { return w->message(); };
  made.exchange.writer = std::move(writer);
  return made;
}

}  // namespace minke

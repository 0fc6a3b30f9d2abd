#include "api/anthropic.h"

#include <algorithm>
#include <utility>

#include "api/anthropic_request.h"
#include "api/openai.h"
#include "base/error.h"

namespace minke {
namespace {

constexpr auto kHarmless = Treatment::harmless;
constexpr auto kRefused = Treatment::refused;

constexpr Field kFields[] = {
    {"model"},
    {"messages"},
    {"system"},
    {"max_tokens"},
    {"tools"},
    {"tool_choice"},
    {"thinking"},
    {"stream"},
    {"temperature"},
    {"top_p"},
    {"top_k"},
    {"stop_sequences"},
    {"output_config", Treatment::honoured, {}, "an effort is a hint; a format is refused"},
    {"metadata", kHarmless},
    {"service_tier", kHarmless},
    {"inference_geo", kHarmless},
    {"cache_control", kHarmless, {}, "the cache finds prefixes by itself"},
    {"context_management", kHarmless, {}, "nothing is taken out of the conversation"},
    {"speed", kHarmless},
    {"betas", kHarmless},
    {"output_format", kRefused, {}, "constraints on the answer cannot be enforced"},
    {"mcp_servers", kRefused, "[]", "a server calls no tools"},
    {"container", kRefused},
};
constexpr Field kCountFields[] = {{"model"},
                                  {"messages"},
                                  {"system"},
                                  {"tools"},
                                  {"tool_choice"},
                                  {"thinking"},
                                  {"output_config"},
                                  {"cache_control", kHarmless},
                                  {"betas", kHarmless},
                                  {"context_management", kHarmless},
                                  {"mcp_servers", kRefused, "[]"}};
constexpr Field kThinking[] = {{"type"}, {"budget_tokens", kHarmless, {}, "a hint"}, {"display", kHarmless}};
constexpr Field kOutput[] = {{"effort", kHarmless, {}, "a hint"},
                             {"format", kRefused, {}, "constraints on the answer cannot be enforced"}};
constexpr Field kChoice[] = {{"type"}, {"name"}, {"disable_parallel_tool_use"}};

const char* type_of(Fault::Kind kind) {
  switch (kind) {
    case Fault::Kind::authentication: return "authentication_error";
    case Fault::Kind::permission: return "permission_error";
    case Fault::Kind::not_found: return "not_found_error";
    case Fault::Kind::too_large: return "request_too_large";
    case Fault::Kind::busy: return "rate_limit_error";
    case Fault::Kind::unavailable: return "overloaded_error";
    case Fault::Kind::internal: return "api_error";
    default: return "invalid_request_error";
  }
}

// What is not from the cache is input_tokens, what is stands beside it.
Json usage_json(const Usage& usage) {
  return JsonObject{{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
                    {"cache_creation_input_tokens", 0},
                    {"cache_read_input_tokens", usage.cached_tokens},
                    {"output_tokens", usage.output_tokens}};
}

class MessageWriter final : public AnswerWriter {
 public:
  MessageWriter(std::string model) : model_(std::move(model)) {}

  // message_start says how long the prompt is and what of it is cached: it waits until that is known.
  std::string event(const CompletionEvent& event) override {
    switch (event.kind) {
      case CompletionEvent::Kind::start: return start(event.usage);
      case CompletionEvent::Kind::part: {
        std::string out = start({});
        for (const AnswerEvent& p : event.parts) out += part(p);
        return out;
      }
      case CompletionEvent::Kind::end:
        reason_ = event.reason;
        stop_ = event.stop;
        return start({}) + close();
      case CompletionEvent::Kind::done: usage_ = event.usage; return done();
      case CompletionEvent::Kind::failed: {
        const Json json = anthropic_fault(event.fault, {});
        return sse("error", to_string(json));
      }
    }
    return {};
  }

  Json whole() const override {
    Json message = frame();
    message.set("content", blocks_);
    message.set("stop_reason", stop_reason());
    message.set("stop_sequence", stop_.empty() ? Json() : Json(stop_));
    message.set("usage", usage_json(usage_));
    return message;
  }

 private:
  std::string start(const Usage& usage) {
    if (std::exchange(started_, true)) return {};
    Json message = frame();
    message.set("content", JsonArray{});
    message.set("stop_reason", Json());
    message.set("stop_sequence", Json());
    message.set("usage", usage_json(usage));
    return typed("message_start", JsonObject{{"message", std::move(message)}});
  }

  Json frame() const {
    return JsonObject{{"id", id_}, {"type", "message"}, {"role", "assistant"}, {"model", model_}};
  }

  static std::string typed(std::string_view type, JsonObject members) {
    JsonObject json{{"type", type}};
    for (JsonMember& member : members) json.push_back(std::move(member));
    return sse(type, to_string(std::move(json)));
  }

  int64_t index() const { return static_cast<int64_t>(blocks_.size()) - 1; }

  std::string open(std::string_view type, Json block) {
    std::string out = close();
    open_ = type;
    blocks_.push_back(block);
    return out + typed("content_block_start", {{"index", index()}, {"content_block", std::move(block)}});
  }

  std::string delta(std::string_view type, std::string_view member, const std::string& text) const {
    return typed("content_block_delta",
                 {{"index", index()}, {"delta", JsonObject{{"type", type}, {std::string(member), text}}}});
  }

  void append(std::string_view member, const std::string& text) {
    Json& block = blocks_.back();
    block.set(member, block.at(member).as_string() + text);
  }

  // Text and thinking arrive in pieces; a block ends where the next one begins.
  std::string part(const AnswerEvent& p) {
    std::string out;
    switch (p.kind) {
      case AnswerEvent::Kind::reasoning:
        if (open_ != "thinking")
          out = open("thinking", JsonObject{{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
        append("thinking", p.text);
        return out + delta("thinking_delta", "thinking", p.text);
      case AnswerEvent::Kind::content:
        if (open_ != "text") out = open("text", JsonObject{{"type", "text"}, {"text", ""}});
        append("text", p.text);
        return out + delta("text_delta", "text", p.text);
      case AnswerEvent::Kind::call:
        arguments_.clear();
        return open(
            "tool_use",
            JsonObject{
                {"type", "tool_use"}, {"id", new_id("toolu_")}, {"name", p.text}, {"input", JsonObject{}}});
      case AnswerEvent::Kind::arguments:
        arguments_ += p.text;
        return delta("input_json_delta", "partial_json", p.text);
      case AnswerEvent::Kind::call_end:  // models repeat keys
        blocks_.back().set("input", parse_json(arguments_, {.reject_repeated_keys = false}));
        return close();
      case AnswerEvent::Kind::call_broken: return broken();
    }
    return out;
  }

  // A stream cannot take it back; its arguments are cut short there. The whole answer does not have it.
  std::string broken() {
    std::string out = close();
    broken_.push_back(blocks_.size() - 1);
    return out;
  }

  std::string close() {
    if (open_.empty()) return {};
    std::string out;
    if (open_ == "thinking") out = delta("signature_delta", "signature", "");
    open_.clear();
    return out + typed("content_block_stop", {{"index", index()}});
  }

  // Text on both sides of a call that was none is one text again: as two, it would come back with a blank
  // line between them, and not be known as what was said.
  void drop(size_t block) {
    const auto at = blocks_.begin() + static_cast<int64_t>(block);
    const auto next = blocks_.erase(at);
    if (next == blocks_.begin() || next == blocks_.end()) return;
    Json& before = *std::prev(next);
    if (before.at("type") != Json("text") || next->at("type") != Json("text")) return;
    before.set("text", before.at("text").as_string() + next->at("text").as_string());
    blocks_.erase(next);
  }

  const char* stop_reason() const {
    switch (reason_) {
      case EndReason::calls: return "tool_use";
      case EndReason::stop: return stop_.empty() ? "end_turn" : "stop_sequence";
      default: return "max_tokens";
    }
  }

  std::string done() {
    for (auto it = broken_.rbegin(); it != broken_.rend(); ++it) drop(*it);
    const Json ending =
        JsonObject{{"stop_reason", stop_reason()}, {"stop_sequence", stop_.empty() ? Json() : Json(stop_)}};
    return typed("message_delta", {{"delta", ending}, {"usage", usage_json(usage_)}}) +
           typed("message_stop", {});
  }

  const std::string id_ = new_id("msg_"), model_;
  std::string open_, arguments_, stop_;
  JsonArray blocks_;
  std::vector<size_t> broken_;
  bool started_ = false;
  EndReason reason_ = EndReason::cancelled;
  Usage usage_;
};

void read_thinking(const FieldReader& fields, ChatPrompt& prompt) {
  const Json* thinking = fields.object("thinking");
  if (!thinking) return;
  check_fields(*thinking, kThinking, "thinking");
  const std::string& type = FieldReader(*thinking, "thinking").require_text("type");
  if (type != "enabled" && type != "disabled" && type != "adaptive")
    throw Error(fmt::format("unknown type '{}'", type.substr(0, 100)), "thinking.type",
                "'enabled', 'adaptive' or 'disabled'");
  for (const char* name : {"enable_thinking", "thinking"}) prompt.kwargs.set(name, type != "disabled");
}

void read_choice(const FieldReader& fields, CompletionRequest& request) {
  const Json* json = fields.object("tool_choice");
  if (!json) return;
  check_fields(*json, kChoice, "tool_choice");
  const FieldReader choice(*json, "tool_choice");
  const std::string& type = choice.require_text("type");
  if (type == "any")
    request.tool_choice.kind = ToolChoice::Kind::required;
  else if (type == "none")
    request.tool_choice.kind = ToolChoice::Kind::none;
  else if (type == "tool")
    request.tool_choice = {ToolChoice::Kind::named, choice.require_text("name")};
  else if (type != "auto")
    throw Error(fmt::format("unknown type '{}'", type.substr(0, 100)), "tool_choice.type",
                "'auto', 'any', 'tool' or 'none'");
  request.parallel_calls = !choice.flag("disable_parallel_tool_use").value_or(false);
}

void read_conversation(const FieldReader& fields, CompletionRequest& request) {
  request.chat = read_anthropic_prompt(fields);
  read_thinking(fields, *request.chat);
  read_choice(fields, request);
  if (const Json* output = fields.object("output_config")) check_fields(*output, kOutput, "output_config");
}

}  // namespace

std::span<const Field> messages_fields() { return kFields; }
std::span<const Field> count_fields() { return kCountFields; }

Exchange read_messages(const Json& body, const ModelCard& card) {
  check_fields(body, kFields);
  const FieldReader fields(body);
  Exchange exchange;
  CompletionRequest& request = exchange.request;
  exchange.model = fields.require_text("model");
  exchange.stream = fields.flag("stream").value_or(false);
  fields.require("max_tokens");
  request.max_tokens = static_cast<int>(*fields.integer("max_tokens", 1, INT32_MAX));
  read_conversation(fields, request);
  if (const auto t = fields.number("temperature", 0, 1))
    request.sampling.temperature = static_cast<float>(*t);
  if (const auto p = fields.number("top_p", 0, 1)) request.sampling.top_p = static_cast<float>(*p);
  if (const auto k = fields.integer("top_k", 0, INT32_MAX)) request.sampling.top_k = static_cast<int>(*k);
  request.stop = read_stop(fields, "stop_sequences");
  exchange.writer = std::make_unique<MessageWriter>(card.name);
  return exchange;
}

CompletionRequest read_count(const Json& body, std::string& model) {
  check_fields(body, kCountFields);
  const FieldReader fields(body);
  model = fields.require_text("model");
  CompletionRequest request;
  read_conversation(fields, request);
  return request;
}

Json anthropic_fault(const Fault& fault, const std::string& request_id) {
  return JsonObject{{"type", "error"},
                    {"error", JsonObject{{"type", type_of(fault.kind)}, {"message", fault.message}}},
                    {"request_id", request_id.empty() ? Json() : Json(request_id)}};
}

}  // namespace minke

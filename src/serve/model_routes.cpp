// What a client asks about the server and its model.

#include <fmt/format.h>

#include "api/fields.h"
#include "serve/answering.h"
#include "serve/openapi.h"
#include "serve/routes.h"
#include "serve/state.h"
#include "serve/visit.h"

namespace minke {
namespace {

constexpr Field kTokenizeFields[] = {{"model"},
                                     {"prompt"},
                                     {"messages"},
                                     {"tools"},
                                     {"chat_template_kwargs"},
                                     {"add_special_tokens", Treatment::refused, "true"},
                                     {"add_generation_prompt"}};
constexpr Field kDetokenizeFields[] = {{"model"}, {"tokens"}};
constexpr Field kTemplateFields[] = {
    {"model"}, {"messages"}, {"tools"}, {"documents"}, {"chat_template_kwargs"}, {"add_generation_prompt"}};

void health(const std::shared_ptr<Visit>& visit, const PathValues&) {
  const bool there = visit->state().completer() != nullptr;
  visit->send(JsonObject{{"status", there ? "ok" : "loading"}}, there ? 200 : 503);
}

void metrics(const std::shared_ptr<Visit>& visit, const PathValues&) {
  const auto completer = visit->state().completer();
  const ServeState& state = visit->state();
  visit->send_text(state.metrics.text(completer ? completer->card().name : "", state.engine_stats()),
                   "text/plain; version=0.0.4; charset=utf-8");
}

std::string rfc3339(int64_t seconds) {
  const auto t = static_cast<std::time_t>(seconds);
  std::tm tm{};
  ::gmtime_r(&t, &tm);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm)};
}

// OpenAI's members, and Anthropic's beside them: the two share the path.
Json card_json(const ModelCard& card, const std::string& name) {
  return JsonObject{{"id", name},
                    {"object", "model"},
                    {"created", card.created},
                    {"owned_by", "minke"},
                    {"max_model_len", card.context},
                    {"type", "model"},
                    {"display_name", name},
                    {"created_at", rfc3339(card.created)}};
}

void models(const std::shared_ptr<Visit>& visit, const PathValues&) {
  const auto completer = completer_for(*visit);
  if (!completer) return;
  const ModelCard& card = completer->card();
  JsonArray data{card_json(card, card.name)};
  for (const std::string& alias : card.aliases)
    if (alias != "*") data.push_back(card_json(card, alias));
  const Json last = data.back().at("id");
  visit->send(JsonObject{{"object", "list"},
                         {"data", std::move(data)},
                         {"has_more", false},
                         {"first_id", card.name},
                         {"last_id", last}});
}

void model(const std::shared_ptr<Visit>& visit, const PathValues& values) {
  const auto completer = completer_for(*visit);
  if (completer && model_fits(*visit, *completer, values.at(0)))
    visit->send(card_json(completer->card(), values.at(0)));
}

ChatPrompt read_chat_fields(const FieldReader& fields) {
  ChatPrompt chat;
  chat.messages = fields.require("messages");
  if (const JsonArray* tools = fields.array("tools"); tools && !tools->empty()) chat.tools = *tools;
  if (const JsonArray* documents = fields.array("documents")) chat.documents = *documents;
  if (const Json* kwargs = fields.object("chat_template_kwargs")) chat.kwargs = *kwargs;
  chat.add_generation_prompt = fields.flag("add_generation_prompt").value_or(true);
  check_messages(chat.messages);
  check_tools(chat.tools);
  return chat;
}

void tokenize(const std::shared_ptr<Visit>& visit, const PathValues&) {
  const auto completer = completer_for(*visit);
  if (!completer) return;
  const Json body = visit->body();
  check_fields(body, kTokenizeFields);
  const FieldReader fields(body);
  CompletionRequest request;
  if (fields.find("messages"))
    request.chat = read_chat_fields(fields);
  else
    request.prompts.push_back({fields.require_text("prompt"), {}, {}});
  JsonArray tokens;
  for (const Token token : completer->tokens(request)) tokens.emplace_back(token);
  visit->send(JsonObject{{"count", static_cast<int64_t>(tokens.size())},
                         {"max_model_len", completer->card().context},
                         {"tokens", std::move(tokens)}});
}

void detokenize(const std::shared_ptr<Visit>& visit, const PathValues&) {
  const auto completer = completer_for(*visit);
  if (!completer) return;
  const Json body = visit->body();
  check_fields(body, kDetokenizeFields);
  const FieldReader fields(body);
  fields.require("tokens");
  std::vector<Token> tokens;
  for (const Json& token : *fields.array("tokens")) {
    if (!token.is_int() || token.as_int() < 0 || token.as_int() > INT32_MAX)
      throw Error("is not the id of a token", fmt::format("tokens[{}]", tokens.size()));
    tokens.push_back(static_cast<Token>(token.as_int()));
  }
  visit->send(JsonObject{{"prompt", completer->text(tokens)}});
}

void apply_template(const std::shared_ptr<Visit>& visit, const PathValues&) {
  const auto completer = completer_for(*visit);
  if (!completer) return;
  const Json body = visit->body();
  check_fields(body, kTemplateFields);
  visit->send(JsonObject{{"prompt", completer->rendered(read_chat_fields(FieldReader(body)))}});
}

void openapi(const std::shared_ptr<Visit>& visit, const PathValues&) {
  visit->send(openapi_document(visit->state().router));
}

}  // namespace

void add_model_routes(Router& router) {
  router.add({"GET", "/health", "Status 200 once the model is there, 503 before", {}, true, health});
  router.add({"GET", "/metrics", "Counters in Prometheus's format", {}, false, metrics});
  router.add({"GET", "/v1/models", "The model, under each of its names", {}, false, models});
  router.add({"GET", "/v1/models/{id}", "One of them", {}, false, model});
  router.add(
      {"POST", "/tokenize", "The tokens of a text or a conversation", kTokenizeFields, false, tokenize});
  router.add({"POST", "/detokenize", "The text of tokens", kDetokenizeFields, false, detokenize});
  router.add({"POST", "/apply-template", "A conversation as the model's template renders it", kTemplateFields,
              false, apply_template});
  router.add({"GET", "/openapi.json", "This description", {}, false, openapi});
}

}  // namespace minke

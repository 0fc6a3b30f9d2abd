// Completions in the dialects that need nothing but an answer.

#include <fmt/format.h>

#include "api/anthropic.h"
#include "api/embeddings.h"
#include "api/openai.h"
#include "serve/answering.h"
#include "serve/routes.h"
#include "serve/state.h"
#include "serve/visit.h"

namespace minke {
namespace {

using Reader = Exchange (*)(const Json& body, const ModelCard& card);

auto answers(Reader read) {
  return [read](const std::shared_ptr<Visit>& visit, const PathValues&) {
    if (const auto completer = completer_for(*visit)) answer(visit, read(visit->body(), completer->card()));
  };
}

void count_tokens(const std::shared_ptr<Visit>& visit, const PathValues&) {
  const auto completer = completer_for(*visit);
  if (!completer) return;
  std::string model;
  const CompletionRequest request = read_count(visit->body(), model);
  if (!model_fits(*visit, *completer, model)) return;
  visit->send(JsonObject{{"input_tokens", static_cast<int64_t>(completer->tokens(request).size())}});
}

void embed(const std::shared_ptr<Visit>& visit, const PathValues&) {
  const auto completer = completer_for(*visit);
  if (!completer) return;
  const EmbeddingExchange exchange = read_embeddings(visit->body(), completer->card());
  if (!model_fits(*visit, *completer, exchange.model)) return;
  auto place = Place::take(*visit);
  if (!place) return;
  const uint64_t id = completer->embed(exchange.request, [=](const Embeddings& made) mutable {
    place.reset();
    visit->note(fmt::format("{} texts prompt={}", made.vectors.size(), made.prompt_tokens));
    if (!made.cancelled) return visit->send(embeddings_json(exchange, made, completer->card()));
    if (!visit->reply().gone())
      visit->send(made.fault.message.empty() ? Fault{Fault::Kind::unavailable, "the server ends"}
                                             : made.fault);
  });
  visit->reply().on_gone([completer, id] { completer->cancel(id); });
}

}  // namespace

void add_completion_routes(Router& router) {
  router.add({"POST", "/v1/chat/completions", "Answer a conversation, as OpenAI's chat completions",
              chat_fields(), false, answers(read_chat)});
  router.add({"POST", "/v1/completions", "Continue a text, as OpenAI's completions", text_fields(), false,
              answers(read_text)});
  router.add({"POST", "/v1/messages", "Answer a conversation, as Anthropic's messages", messages_fields(),
              false, answers(read_messages)});
  router.add({"POST", "/v1/messages/count_tokens", "Count the tokens of a conversation", count_fields(),
              false, count_tokens});
  router.add({"POST", "/v1/embeddings", "Vectors for texts, as OpenAI's embeddings", embeddings_fields(),
              false, embed});
}

}  // namespace minke

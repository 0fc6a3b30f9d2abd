// Completions in the dialects that need nothing but an answer.

#include "api/anthropic.h"
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

void no_embeddings(const std::shared_ptr<Visit>& visit, const PathValues&) {
  visit->send(Fault{Fault::Kind::unsupported, "the model is served for completions, not for embeddings"});
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
  router.add({"POST", "/v1/embeddings", "Not there yet: always status 501", {}, false, no_embeddings});
}

}  // namespace minke

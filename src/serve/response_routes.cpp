// OpenAI's responses, which the server keeps unless it is told not to.

#include "api/responses.h"
#include "base/error.h"
#include "serve/answering.h"
#include "serve/routes.h"
#include "serve/state.h"
#include "serve/visit.h"

namespace minke {
namespace {

void respond(const std::shared_ptr<Visit>& visit, const PathValues&) {
  const auto completer = completer_for(*visit);
  if (!completer) return;
  const auto earlier = [&](const std::string& id) {
    const auto stored = visit->state().store.get(id, visit->owner());
    if (!stored)
      throw Error("there is no response of this id", "previous_response_id", "it may not have been stored");
    return stored->messages;
  };
  ResponsesExchange made = read_responses(visit->body(), completer->card(), earlier);
  if (!made.store) return answer(visit, std::move(made.exchange));
  // The visit is kept by what answers it, and that keeps this.
  auto keep = [state = visit->shared_state(), owner = visit->owner(), id = made.id,
               messages = std::move(made.messages),
               message = std::move(made.message)](const AnswerWriter& writer) {
    Json all = messages;
    all.as_array().push_back(message());
    state->store.put({id, owner, writer.whole(), std::move(all)});
  };
  answer(visit, std::move(made.exchange), std::move(keep));
}

void get(const std::shared_ptr<Visit>& visit, const PathValues& values) {
  if (const auto stored = visit->state().store.get(values.at(0), visit->owner()))
    return visit->send(stored->response);
  visit->send(Fault{Fault::Kind::not_found, "there is no response of this id"});
}

void remove(const std::shared_ptr<Visit>& visit, const PathValues& values) {
  if (visit->state().store.remove(values.at(0), visit->owner()))
    return visit->send(JsonObject{{"id", values.at(0)}, {"object", "response"}, {"deleted", true}});
  visit->send(Fault{Fault::Kind::not_found, "there is no response of this id"});
}

}  // namespace

void add_response_routes(Router& router) {
  router.add({"POST", "/v1/responses", "Answer a conversation, as OpenAI's responses", responses_fields(),
              false, respond});
  router.add({"GET", "/v1/responses/{id}", "An answer that was kept", {}, false, get});
  router.add({"DELETE", "/v1/responses/{id}", "Forget one", {}, false, remove});
}

}  // namespace minke

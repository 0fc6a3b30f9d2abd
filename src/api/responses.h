#pragma once
// OpenAI's responses: https://platform.openai.com/docs/api-reference/responses

#include <functional>
#include <span>
#include <string>

#include "api/dialect.h"
#include "api/fields.h"

namespace minke {

struct ResponsesExchange {
  Exchange exchange;
  std::string id;  // of the response
  bool store = true;
  Json messages;                  // the conversation before the answer, without instructions
  std::function<Json()> message;  // the answer as one more message; once the writer has had all events
};

// The messages of an earlier response. Throws Error where there is none of this id.
using EarlierMessages = std::function<Json(const std::string& id)>;

// POST /v1/responses
std::span<const Field> responses_fields();
ResponsesExchange read_responses(const Json& body, const ModelCard& card, const EarlierMessages& earlier);

}  // namespace minke

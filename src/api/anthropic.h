#pragma once
// Anthropic's messages: https://docs.claude.com/en/api/messages

#include <span>
#include <string>

#include "api/dialect.h"
#include "api/fields.h"

namespace minke {

// POST /v1/messages
std::span<const Field> messages_fields();
Exchange read_messages(const Json& body, const ModelCard& card);

// POST /v1/messages/count_tokens
std::span<const Field> count_fields();
CompletionRequest read_count(const Json& body, std::string& model);

Json anthropic_fault(const Fault& fault, const std::string& request_id);

}  // namespace minke

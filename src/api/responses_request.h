#pragma once
// From the items of OpenAI's responses to messages.

#include "api/fields.h"
#include "text/chat_messages.h"

namespace minke {

// A text, or a list of messages, calls, their outputs and reasoning. Throws Error naming the item.
JsonArray read_input(const Json& input);
// Functions alone; null for none.
Json read_response_tools(const JsonArray& tools);

}  // namespace minke

#pragma once
// From Anthropic's messages to those of the chat formats, which are OpenAI's.

#include "api/fields.h"
#include "text/chat_messages.h"

namespace minke {

// `system`, `messages` and `tools`. Throws Error naming the block that has no counterpart.
ChatPrompt read_anthropic_prompt(const FieldReader& fields);

}  // namespace minke

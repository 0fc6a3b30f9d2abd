#pragma once
// A conversation as users hand it in, checked, and as templates get it.

#include "base/json.h"

namespace minke {

struct ChatPrompt {
  Json messages = JsonArray{};  // [{role, content, ...}]
  Json tools;                   // [{type, function: {name, description, parameters}}], or null
  Json documents;               // an array, or null
  bool add_generation_prompt = true;
  Json kwargs = JsonObject{};  // further variables of the template, enable_thinking and the like
};

// A MESSAGES.json: an array of messages, or an object with `messages` and, as far as wanted, `tools`,
// `documents`, `add_generation_prompt` and `chat_template_kwargs`. Throws Error whose subject is the path of
// the fault: "messages[3].content".
//
// A message is an object with a known role and a content: a string or a list of parts {"type": "text",
// "text": ...}; an assistant's may be null or absent where it calls tools. Calls are OpenAI's, their
// arguments an object or JSON as text. Keys beyond these are left to the template.
ChatPrompt read_chat_prompt(const Json& json);

// The same check for what has been taken apart already. `messages` must be an array of at least one.
void check_messages(const Json& messages);
void check_tools(const Json& tools);  // null or an array

// What transformers' apply_chat_template does to messages first: members that are null are dropped, and the
// reasoning is given under all its three names, reasoning_content, thinking and reasoning.
JsonArray like_transformers(const JsonArray& messages);

}  // namespace minke

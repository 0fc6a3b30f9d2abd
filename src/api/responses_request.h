#pragma once
// From the items of OpenAI's responses to messages.

#include <map>
#include <string>

#include "api/fields.h"
#include "text/chat_messages.h"

namespace minke {

// A text, or a list of messages, calls, their outputs and reasoning. Throws Error naming the item.
JsonArray read_input(const Json& input);

struct ResponseTools {
  Json functions;                                 // as chat completions have them; null: there are none
  std::map<std::string, std::string> namespaces;  // of each function, the namespace it stands in; empty: none
};

// Functions, and functions in namespaces, all under their own names. Throws Error naming the tool.
ResponseTools read_response_tools(const JsonArray& tools);

}  // namespace minke

#pragma once
// What a template can make of a message differs from one to the next: some want a tool call's arguments as an
// object, some as text; some fail on a list of parts, or print it as Python would. A template is asked by
// rendering small conversations with it, and messages are brought into the form it can take.

#include <functional>

#include "text/chat_messages.h"
#include "text/token.h"

namespace minke {

struct TemplateTraits {
  bool text_content = true;   // content as a string
  bool part_content = false;  // content as a list of parts, rendered as the string would be
  bool object_arguments = true;
  bool text_arguments = true;  // printed as they are
  enum class CallContent {
    absent,
    null,
    empty
  } call_content = CallContent::absent;  // of a call without a text
  bool developer_role = true;
  bool operator==(const TemplateTraits&) const = default;
};

// `render` renders messages with tools (or null) as the template does, and throws Error where it cannot.
TemplateTraits probe_template(
    const std::function<std::string(const JsonArray& messages, const Json& tools)>& render);

// The messages of like_transformers in the form the template can take:
//   a list of text parts becomes one string, the parts on lines of their own (and a string becomes a list
//   where the template takes nothing else); arguments stay as they were given where the template takes them
//   so: text is what the model once wrote, to the byte, which the prefix cache depends on; else they become
//   an object, or text as json.dumps writes it; a call without a text has its content left out, null or "",
//   the first of these that the template renders; a developer is a system where the template does not know
//   the role.
// Throws Error naming messages[i]... where arguments that have to become an object are no JSON object.
JsonArray adapt_messages(const JsonArray& messages, const TemplateTraits& traits);

}  // namespace minke

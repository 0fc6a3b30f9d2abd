#pragma once
// What OpenAI's routes share: sampling fields, usage, errors.

#include <span>
#include <string>

#include "api/dialect.h"
#include "api/fields.h"

namespace minke {

constexpr int kMostChoices = 64;
constexpr size_t kMostStops = 64, kMostStopBytes = 1024;
constexpr int kMostLogprobs = 20;

// Fields that say how to sample and where to end, which chat and completions share: temperature to stop.
void read_sampling(const FieldReader& fields, CompletionRequest& request);
std::vector<std::string> read_stop(const FieldReader& fields, std::string_view name);
// tool_choice of chat and responses: a word, or an object that names a function, in `wrapped` ("function") or
// in itself.
ToolChoice read_tool_choice(const FieldReader& fields, std::string_view wrapped);
// Throws Error where a tool asks for arguments that follow its schema ("strict": true).
void refuse_strict(const Json& function, const std::string& path);

Json openai_usage(const Usage& usage);
Json openai_fault(const Fault& fault);  // {"error": {...}}
int64_t unix_time();

// POST /v1/chat/completions
std::span<const Field> chat_fields();
Exchange read_chat(const Json& body, const ModelCard& card);

// A text, tokens, or a list of at most `most` of either, in this field.
std::vector<PlainPrompt> read_prompts(const Json& json, const std::string& field, size_t most);

// POST /v1/completions
std::span<const Field> text_fields();
Exchange read_text(const Json& body, const ModelCard& card);

}  // namespace minke

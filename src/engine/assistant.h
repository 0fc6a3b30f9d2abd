#pragma once
// A model with its tokenizer and chat format around an engine: conversations in, answers out.

#include <string>

#include "engine/engine.h"
#include "text/chat.h"

namespace minke {

struct Answer {
  std::string content, reasoning;  // reasoning: what came before </think>, where the prompt opened it
  Finish finish;
};

// How the model's authors would sample: their generation_config.json, or what is customary for models that
// reason; else greedily.
Sampling advised_sampling(const Model& model, const std::string& chat_template);

// The model's chat format: `own` (the text of a template) where not empty, else what came with the model,
// else a built-in one.
ChatFormat chat_format(const Model& model, const Tokenizer& tokenizer, const std::string& own = {});

// The text of the chat template that came with the model, or empty.
std::string chat_template_of(const Model& model, const Tokenizer& tokenizer);

// Splits an answer at the end of its reasoning. opened: the prompt ended inside of reasoning.
void split_reasoning(const std::string& text, bool opened, std::string& reasoning, std::string& content);

// Submits a request and waits for its end. show(text) gets the text as it comes, on the caller's thread;
// stop() is asked between tokens, and true cancels. The request's own `output`, where set, is called as ever;
// what it wrote may be read when this returns.
Finish complete(Engine& engine, Request request, const std::function<void(std::string_view)>& show,
                const std::function<bool()>& stop);

}  // namespace minke

#pragma once
// Conversations as a model is trained on them: in its chat format, where only what the assistant says is
// learned.

#include <vector>

#include "text/chat.h"
#include "text/tokenizer.h"

namespace minke {

struct ChatSample {
  Pieces pieces;                 // the text
  std::vector<TextRun> answers;  // of the joined text: what is learned, the token that ends a turn included
};

// The samples that teach every answer of a conversation. They are one where the format renders earlier
// answers as it renders the last: then what {% generation %} encloses is learned, or without it for each
// answer what follows the prompt for it. Formats that open <think> in their prompt, or drop reasoning from
// earlier answers, give one for each answer: the prompt, then what the assistant says, with its reasoning (or
// none) before </think>. Throws Error naming the fault in the conversation, or that there is no answer in it.
std::vector<ChatSample> chat_samples(const ChatFormat& format, const Json& conversation);

struct LearnedTokens {
  std::vector<Token> tokens;
  std::vector<bool> learned;  // [tokens]
};
// Answers, and what lies between them, are encoded apart: a prompt is the same tokens as when the model is
// asked.
LearnedTokens encode(const Tokenizer& tokenizer, const ChatSample& sample);

}  // namespace minke

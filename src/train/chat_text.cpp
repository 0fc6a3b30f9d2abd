#include "train/chat_text.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace minke {
namespace {

constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";

size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())),
                    b.begin())
          .first -
      a.begin());
}

bool is_answer(const Json& message) {
  const Json* role = message.find("role");
  return role && role->is_string() && role->as_string() == "assistant";
}

std::string member(const Json& message, std::string_view key) {
  const Json* value = message.find(key);
  return value && value->is_string() ? value->as_string() : std::string();
}

// The first n messages.
ChatPrompt beginning(const ChatPrompt& all, size_t n, bool add_prompt) {
  ChatPrompt prompt = all;
  prompt.messages.as_array().resize(n);
  prompt.add_generation_prompt = add_prompt;
  return prompt;
}

// Of pieces, bytes [begin, end) of their text.
Pieces slice(const Pieces& pieces, size_t begin, size_t end) {
  Pieces part;
  size_t at = 0;
  for (const Piece& piece : pieces) {
    const size_t from = std::clamp(begin, at, at + piece.text.size()) - at;
    const size_t to = std::clamp(end, at, at + piece.text.size()) - at;
    if (from < to) part.push_back({piece.given, piece.text.substr(from, to - from)});
    at += piece.text.size();
  }
  return part;
}

// Where the format begins to close the turn: behind the last character that was given.
size_t end_of_given(const Pieces& pieces) {
  size_t at = 0, end = 0;
  for (const Piece& piece : pieces) {
    at += piece.text.size();
    if (piece.given) end = at;
  }
  return end;
}

void append(Pieces& pieces, bool given, std::string text) {
  if (!text.empty()) pieces.push_back({given, std::move(text)});
}

// Where a turn that is the last of `rendered` ends: with the token that says so, not with blanks behind it.
size_t end_of_turn(const Pieces& rendered) {
  const std::string text = plain(rendered);
  const size_t last = text.find_last_not_of(" \n"), given = end_of_given(rendered);
  return last != std::string::npos && last >= given ? last + 1 : text.size();
}

struct Answer {
  Pieces prompt, rendered;    // the messages before it with the prompt for it; up to and with it
  size_t begin = 0, end = 0;  // of what the assistant says, in `rendered`
  bool thinks = false;        // the prompt opens reasoning that the rendered conversation does not show
};

// A prompt that opens <think>, the reasoning, and the answer as the rendered conversation ends with it.
ChatSample thinking_sample(const Answer& answer, const Json& message) {
  std::string content = member(message, "content"), reasoning = member(message, "reasoning_content");
  if (const size_t close = content.find(kThinkClose); close != std::string::npos) {
    reasoning = content.substr(0, close);
    if (reasoning.starts_with(kThinkOpen)) reasoning.erase(0, kThinkOpen.size());
    content.erase(0, close + kThinkClose.size());
  }
  const auto trim = [](std::string& text) {
    text.erase(0, std::min(text.find_first_not_of('\n'), text.size()));
    text.erase(text.find_last_not_of('\n') + 1);
  };
  trim(reasoning);
  trim(content);
  ChatSample sample{.pieces = answer.prompt, .answers = {}};
  const size_t begin = plain(answer.prompt).size();
  append(sample.pieces, true, reasoning);
  append(sample.pieces, false, std::string("\n") + std::string(kThinkClose) + "\n\n");
  append(sample.pieces, true, content);
  const Pieces tail =
      slice(answer.rendered, std::max(end_of_given(answer.rendered), answer.begin), answer.end);
  sample.pieces.insert(sample.pieces.end(), tail.begin(), tail.end());
  sample.answers = {{begin, plain(sample.pieces).size()}};
  return sample;
}

Answer answer_at(const ChatFormat& format, const ChatPrompt& chat, size_t index) {
  Answer answer;
  answer.rendered = format.render(beginning(chat, index + 1, false));
  answer.end = end_of_turn(answer.rendered);
  if (index == 0) {  // nothing asks for it
    for (const Piece& piece : answer.rendered) {
      if (piece.given) break;
      answer.begin += piece.text.size();
    }
    return answer;
  }
  answer.prompt = format.render(beginning(chat, index, true));
  const std::string prompt = plain(answer.prompt), rendered = plain(answer.rendered);
  answer.begin = common_prefix(prompt, rendered);
  if (answer.begin == prompt.size()) return answer;
  answer.thinks = ends_in_reasoning(answer.prompt);
  const size_t before = common_prefix(plain(format.render(beginning(chat, index, false))), rendered);
  // Not in the middle of a token: <think> and what ends a turn begin alike.
  const size_t token = std::string_view(rendered).substr(0, answer.begin).rfind('<');
  if (token != std::string::npos && token >= before && rendered.find('>', token) >= answer.begin)
    answer.begin = token;
  // The rest of the prompt and the answer may begin alike; the answer's own characters are given ones.
  size_t at = 0;
  for (const Piece& piece : answer.rendered) {
    if (piece.given && at >= before) answer.begin = std::min(answer.begin, at);
    at += piece.text.size();
  }
  return answer;
}

}  // namespace

std::vector<ChatSample> chat_samples(const ChatFormat& format, const Json& conversation) {
  ChatPrompt chat = read_chat_prompt(conversation);
  const JsonArray& messages = chat.messages.as_array();
  chat.add_generation_prompt = false;
  if (std::ranges::none_of(messages, is_answer)) throw Error("no message is the assistant's", "messages");

  ChatSample whole;
  whole.pieces = format.render(chat, {}, &whole.answers);
  if (!whole.answers.empty()) return {std::move(whole)};
  const std::string text = plain(whole.pieces);
  std::vector<ChatSample> apart;
  bool together = true;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!is_answer(messages[i])) continue;
    const Answer answer = answer_at(format, chat, i);
    together = together && !answer.thinks && text.starts_with(plain(answer.rendered));
    if (together) whole.answers.push_back({answer.begin, answer.end});
    if (answer.thinks)
      apart.push_back(thinking_sample(answer, messages[i]));
    else
      apart.push_back({answer.rendered, {{answer.begin, answer.end}}});
  }
  if (!together) return apart;
  // What the format closes the conversation with is no answer, but is kept.
  return {std::move(whole)};
}

LearnedTokens encode(const Tokenizer& tokenizer, const ChatSample& sample) {
  LearnedTokens result;
  const auto add = [&](size_t begin, size_t end, bool learned) {
    const std::vector<Token> tokens = tokenizer.encode(slice(sample.pieces, begin, end));
    result.tokens.insert(result.tokens.end(), tokens.begin(), tokens.end());
    result.learned.resize(result.tokens.size(), learned);
  };
  size_t at = 0;
  for (const TextRun& answer : sample.answers) {
    add(at, answer.begin, false);
    add(answer.begin, answer.end, true);
    at = answer.end;
  }
  add(at, plain(sample.pieces).size(), false);
  return result;
}

}  // namespace minke

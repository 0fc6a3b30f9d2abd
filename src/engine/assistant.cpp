#include "engine/assistant.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/error.h"
#include "formats/general_keys.h"

namespace minke {
namespace {

constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";

// What is customary for models that think aloud: R1's authors advise it, and greedy ones repeat themselves.
constexpr float kReasoningTemperature = 0.6f, kReasoningTopP = 0.95f;

std::string trimmed(std::string_view s) {
  const size_t first = s.find_first_not_of(" \n\r\t"), last = s.find_last_not_of(" \n\r\t");
  return first == std::string_view::npos ? "" : std::string(s.substr(first, last - first + 1));
}

}  // namespace

Sampling advised_sampling(const Model& model, const std::string& chat_template) {
  Sampling s;
  const GenerationAdvice advice =
      model.gguf() ? read_sampling_keys(*model.gguf()) : model.folder()->generation;
  if (advice.sample.value_or(advice.temperature.has_value())) {
    s.temperature = static_cast<float>(advice.temperature.value_or(1.0));
    s.top_p = static_cast<float>(advice.top_p.value_or(1.0));
    s.min_p = static_cast<float>(advice.min_p.value_or(0.0));
    s.top_k = static_cast<int>(advice.top_k.value_or(0));
    s.repetition_penalty = static_cast<float>(advice.repetition_penalty.value_or(1.0));
    return s;
  }
  if (chat_template.find(kThinkClose) != std::string::npos) {
    s.temperature = kReasoningTemperature;
    s.top_p = kReasoningTopP;
  }
  return s;
}

std::string chat_template_of(const Model& model, const Tokenizer& tokenizer) {
  if (const HfFolder* folder = model.folder()) {
    const auto it = folder->chat_templates.find("default");
    if (it != folder->chat_templates.end()) return it->second;
  }
  return tokenizer.chat_template();
}

ChatFormat chat_format(const Model& model, const Tokenizer& tokenizer, const std::string& own) {
  const ChatHints hints = chat_hints(tokenizer, model.config.arch);
  if (!own.empty()) return ChatFormat::from_template(own, hints.tokens);
  return ChatFormat::choose(chat_template_of(model, tokenizer), hints);
}

void split_reasoning(const std::string& text, bool opened, std::string& reasoning, std::string& content) {
  std::string_view rest = text;
  reasoning.clear();
  if (!opened) {
    const std::string start = trimmed(text);
    opened = start.starts_with(kThinkOpen);
    if (opened) rest.remove_prefix(text.find(kThinkOpen) + kThinkOpen.size());
  }
  const size_t end = opened ? rest.find(kThinkClose) : std::string_view::npos;
  if (!opened) {
    content = text;
  } else if (end == std::string_view::npos) {  // it never came to an answer
    reasoning = trimmed(rest);
    content.clear();
  } else {
    reasoning = trimmed(rest.substr(0, end));
    content = trimmed(rest.substr(end + kThinkClose.size()));
  }
}

Finish complete(Engine& engine, Request request, const std::function<void(std::string_view)>& show,
                const std::function<bool()>& stop) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::string text;
    bool done = false;
    Finish finish;
  } shared;
  request.output = [&, own = std::move(request.output)](const Output& out) {
    std::lock_guard lock(shared.mutex);
    if (own) own(out);
    shared.text += out.text;
    shared.changed.notify_one();
  };
  request.finish = [&](const Finish& finish) {
    std::lock_guard lock(shared.mutex);
    shared.text += finish.text;
    shared.finish = finish;
    shared.done = true;
    shared.changed.notify_one();
  };
  const uint64_t id = engine.submit(std::move(request));
  bool asked = false;
  for (std::unique_lock lock(shared.mutex);;) {
    shared.changed.wait_for(lock, std::chrono::milliseconds(50),
                            [&] { return shared.done || !shared.text.empty(); });
    const std::string text = std::exchange(shared.text, {});
    const bool done = shared.done;
    lock.unlock();
    if (!text.empty()) show(text);
    if (done) return shared.finish;
    if (!asked && stop()) {
      engine.cancel(id);
      asked = true;
    }
    lock.lock();
  }
}

}  // namespace minke

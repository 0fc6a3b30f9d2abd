#pragma once
// From a conversation to a prompt, in the format of the model at hand.

#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_adapt.h"
#include "text/jinja/jinja.h"
#include "text/token.h"

namespace minke {

class Tokenizer;

// The texts of the tokens a template may name; empty where the model has none (the variable is then
// undefined).
struct SpecialTokens {
  std::string bos, eos, pad;
};

// What is known of a model beside its template.
struct ChatHints {
  std::string architecture;  // model_type of config.json or general.architecture of a GGUF
  std::function<bool(std::string_view text)> has_token;  // an added token with this text
  SpecialTokens tokens;
};

// Of a tokenizer, which must outlive the result.
ChatHints chat_hints(const Tokenizer& tokenizer, std::string architecture = {});

enum class MessageForm {
  as_given,      // the template sees the messages as they are
  transformers,  // as transformers' apply_chat_template hands them over (like_transformers)
  adapted,       // and then as this template can take them (adapt_messages): for users
};

struct ChatRenderOptions {
  MessageForm form = MessageForm::adapted;
  std::optional<std::tm> now;  // for templates that ask for the date
  jinja::Limits limits;
};

// Immutable; any thread may render. Copies are cheap.
class ChatFormat {
 public:
  // The model's own template where it has one; else DeepSeek-V3.2's format for that architecture; else a
  // built-in format that fits the vocabulary. Throws Error where there is none.
  static ChatFormat choose(std::string_view chat_template, const ChatHints& hints);
  // `name` is what errors call the template. Throws Error with the line where it cannot be parsed.
  static ChatFormat from_template(std::string_view source, SpecialTokens tokens,
                                  std::string name = "chat template");
  // One of built_in_names(). Throws Error naming them.
  static ChatFormat built_in(std::string_view name, SpecialTokens tokens);
  static std::vector<std::string_view> built_in_names();

  // "chat template" or as from_template was told; of a built-in format its name: "deepseek-v3.2", "chatml",
  // ...
  const std::string& name() const { return name_; }
  const TemplateTraits& traits() const { return traits_; }
  // The template's text; empty where the format is DeepSeek-V3.2's own.
  std::string_view source() const { return source_ ? *source_ : std::string_view(); }

  // The prompt. What comes from the conversation and kwargs is given, the rest is the format's own. Throws
  // Error: with the path of a fault in the messages, or with the template's name and line.
  //
  // kwargs of DeepSeek-V3.2's own format: `thinking` or `enable_thinking` (false), `drop_thinking` (true).
  // `generated` becomes the parts inside of the template's {% generation %}, if it has any.
  Pieces render(const ChatPrompt& prompt, const ChatRenderOptions& options = {},
                std::vector<TextRun>* generated = nullptr) const;

 private:
  ChatFormat() = default;
  Pieces render_template(const JsonArray& messages, const ChatPrompt& prompt,
                         const ChatRenderOptions& options, std::vector<TextRun>* generated = nullptr) const;
  Pieces render_v32(const JsonArray& messages, const ChatPrompt& prompt) const;
  void probe();

  std::string name_;
  std::optional<jinja::Template> template_;  // none: DeepSeek-V3.2's own format
  std::shared_ptr<const std::string> source_;
  SpecialTokens tokens_;
  TemplateTraits traits_;
};

// Whether a completion of the prompt starts inside of reasoning: the format opened <think> at its very end.
bool ends_in_reasoning(const Pieces& prompt);

}  // namespace minke

#pragma once
// Flags of commands that answer: model, machine, context, chat format.

#include <memory>
#include <string>

#include "cli/model_flags.h"
#include "engine/assistant.h"

namespace minke {

struct EngineFlags {
  ModelFlags model;
  int context = 0;  // 0: the default, or less where the model was made for less
  int ubatch = 512;
  int draft = 7;  // with the token they follow a register tile
  bool exact = false;
  std::string draft_by = "auto";
  std::string activations = "int8";
  std::string chat_template;    // a file
  std::string template_kwargs;  // JSON

  void add(CLI::App& command);
  void check() const;  // throws Error naming the flag that is wrong
  // Throws Error where the model was made for less context, or the machine's memory is too small.
  EngineOptions options(const Model& loaded) const;
};

constexpr int kDefaultContext = 4096;
// The same without a look at the machine's memory.
EngineOptions engine_options(const Model& model, const EngineFlags& flags);

// Everything that answers, in the order it must be built and the reverse it must end.
struct Loaded {
  Model model;
  Tokenizer tokenizer;
  explicit Loaded(const EngineFlags& flags);
};

// The chat format that the flags ask for.
ChatFormat chat_format(const Loaded& loaded, const EngineFlags& flags);
// Variables for the template from --template-kwargs; throws Error where that is no JSON object.
Json template_kwargs(const EngineFlags& flags);

// "[12 tokens, 35.1 tok/s; prompt 34 tokens, 20 cached, 0.41 s]"
std::string timing_line(const Finish& finish);

}  // namespace minke

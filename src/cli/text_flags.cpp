#include "cli/text_flags.h"

#include <CLI/CLI.hpp>

#include "base/error.h"

namespace minke {

void TextFlags::add_file(CLI::App& command) { command.add_option("FILE", file, "UTF-8 text")->required(); }

void TextFlags::add(CLI::App& command) {
  command.add_option("--ctx", window, "Tokens of a window")
      ->check(CLI::Range(2, 1 << 24))
      ->capture_default_str();
  command.add_option("--tokens", most, "Stop after so many tokens of the text")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--activations", activations, "int8 or f32")->check(CLI::IsMember({"int8", "f32"}));
}

std::vector<Token> TextFlags::tokens(const Tokenizer& tokenizer) const {
  std::vector<Token> tokens = tokenizer.encode(read_file(file), Added::none);
  if (most > 0 && static_cast<int64_t>(tokens.size()) > most) tokens.resize(static_cast<size_t>(most));
  if (tokens.size() < 2) throw Error("is shorter than two tokens", file);
  return tokens;
}

InstanceOptions TextFlags::options(const ModelFlags& model) const {
  InstanceOptions o;
  o.isa = model.chosen_isa();
  o.round_activations = activations == "int8";
  o.limits.threads = model.threads;
  o.limits.kv = model.kv_formats();
  o.limits.context = window + 1;
  o.limits.logit_rows = 64;
  return o;
}

Token window_start(const Tokenizer& tokenizer) {
  return tokenizer.add_bos() ? tokenizer.bos().value_or(-1) : -1;
}

}  // namespace minke

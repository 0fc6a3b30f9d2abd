#pragma once
// A model as Hugging Face folders hold it: configuration, tokenizer, chat templates, licence and weights
// (docs/formats.md). Knows no model: what the fields of config.json mean is said elsewhere.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "formats/safetensors.h"

namespace minke {

// generation_config.json: what the model's authors advise. What it does not say is empty.
struct GenerationAdvice {
  std::vector<int64_t> eos_ids;
  std::optional<bool> sample;  // do_sample
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
};

struct HfFolder {
  fs::path path;
  Json config;                           // config.json, an object
  std::optional<fs::path> tokenizer;     // tokenizer.json
  std::optional<Json> tokenizer_config;  // tokenizer_config.json, an object
  GenerationAdvice generation;
  // By name: "default" and whatever else is there ("tool_use"). From chat_template.jinja, or else
  // chat_template.json, or else the field of tokenizer_config.json.
  std::map<std::string, std::string> chat_templates;
  std::string licence;                     // as the front matter of README.md names it ("mit"); may be empty
  std::string licence_name, licence_link;  // where that is "other"
  std::vector<fs::path> licence_files;     // LICENSE and its like
  Safetensors weights;

  // Throws Error naming the file at fault, and what to do: no such folder, no config.json, no weights, a file
  // that is not what its name says.
  static HfFolder open(const fs::path& folder);
};

// LICENSE, COPYING, NOTICE and their like, in any case of letters.
bool names_licence(std::string_view file);

}  // namespace minke

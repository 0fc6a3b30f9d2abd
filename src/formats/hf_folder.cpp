#include "formats/hf_folder.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/folder.h"

namespace minke {
namespace {

constexpr size_t kMaxJsonBytes = 64 << 20, kMaxTemplateBytes = 4 << 20, kMaxFrontMatterBytes = 64 << 10;
constexpr const char* kDefault = "default";
constexpr const char* kTokenizerConfig = "tokenizer_config.json";

std::optional<Json> read_object(const fs::path& path) {
  if (!is_file(path)) return std::nullopt;
  const std::string text = read_file(path, kMaxJsonBytes);
  try {
    Json json = parse_json(text);
    json.as_object();
    return json;
  } catch (const Error& e) {
    throw e.help().empty() ? Error(e.happened(), path.string(), "download the file again")
                           : e.within(path.string());
  }
}

// The value of an optional field through `read`; null counts as absent.
template <typename T>
void read_field(const Json& object, const char* key, std::optional<T>& value, T (Json::*read)() const) {
  const Json* field = object.find(key);
  if (!field || field->is_null()) return;
  try {
    value = (field->*read)();
  } catch (const Error& e) {
    throw e.within(fmt::format("field '{}'", key));
  }
}

std::vector<int64_t> read_ids(const Json& object, const char* key) {
  std::vector<int64_t> ids;
  const Json* field = object.find(key);
  if (!field || field->is_null()) return ids;
  try {
    if (!field->is_array()) return {field->as_int()};
    for (const Json& id : field->as_array()) ids.push_back(id.as_int());
    return ids;
  } catch (const Error& e) {
    throw e.within(fmt::format("field '{}'", key));
  }
}

GenerationAdvice read_generation(const fs::path& path) {
  GenerationAdvice advice;
  const std::optional<Json> json = read_object(path);
  if (!json) return advice;
  try {
    advice.eos_ids = read_ids(*json, "eos_token_id");
    read_field(*json, "do_sample", advice.sample, &Json::as_bool);
    read_field(*json, "temperature", advice.temperature, &Json::as_double);
    read_field(*json, "top_p", advice.top_p, &Json::as_double);
    read_field(*json, "min_p", advice.min_p, &Json::as_double);
    read_field(*json, "repetition_penalty", advice.repetition_penalty, &Json::as_double);
    read_field(*json, "top_k", advice.top_k, &Json::as_int);
    return advice;
  } catch (const Error& e) {
    throw e.within(path.string());
  }
}

// The field 'chat_template': one template, or a list of {name, template}.
std::map<std::string, std::string> read_template_field(const Json& object, const fs::path& file) {
  const Json* field = object.find("chat_template");
  if (!field || field->is_null()) return {};
  try {
    if (!field->is_array()) return {{kDefault, field->as_string()}};
    std::map<std::string, std::string> templates;
    for (const Json& entry : field->as_array())
      templates[entry.at("name").as_string()] = entry.at("template").as_string();
    return templates;
  } catch (const Error& e) {
    throw e.within(fmt::format("{}: field 'chat_template'", file.string()));
  }
}

std::map<std::string, std::string> read_templates(const fs::path& folder,
                                                  const std::optional<Json>& tokenizer_config) {
  const fs::path jinja = folder / "chat_template.jinja", json = folder / "chat_template.json";
  if (is_file(jinja)) return {{kDefault, read_file(jinja, kMaxTemplateBytes)}};
  if (const std::optional<Json> object = read_object(json)) return read_template_field(*object, json);
  if (tokenizer_config) return read_template_field(*tokenizer_config, folder / kTokenizerConfig);
  return {};
}

// The value of a field, "license:", in the block between two lines of --- with which a model card begins.
std::string front_matter(std::string_view card, std::string_view key) {
  constexpr std::string_view kSpace = " \t\r\"'";
  bool inside = false;
  while (!card.empty()) {
    const std::string_view line = card.substr(0, card.find('\n'));
    card.remove_prefix(std::min(card.size(), line.size() + 1));
    const bool fence = line.starts_with("---");
    if (fence == inside) return {};
    inside = true;
    if (!line.starts_with(key)) continue;
    const std::string_view value = line.substr(key.size());
    const size_t first = value.find_first_not_of(kSpace), last = value.find_last_not_of(kSpace);
    return first == value.npos ? "" : std::string(value.substr(first, last - first + 1));
  }
  return {};
}

void read_licence(HfFolder& folder) {
  const fs::path path = folder.path / "README.md";
  if (!is_file(path)) return;
  const MappedFile file(path);
  const std::string_view card = as_text(file.bytes()).substr(0, kMaxFrontMatterBytes);
  folder.licence = front_matter(card, "license:");
  folder.licence_name = front_matter(card, "license_name:");
  folder.licence_link = front_matter(card, "license_link:");
}

}  // namespace

bool names_licence(std::string_view file) {
  constexpr std::string_view kNames[] = {"LICENSE", "LICENCE", "COPYING", "NOTICE"};
  return std::ranges::any_of(kNames, [&](std::string_view name) {
    return std::ranges::equal(file.substr(0, name.size()), name, {}, [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
  });
}

HfFolder HfFolder::open(const fs::path& path) {
  HfFolder folder;
  folder.path = path;
  const std::vector<std::string> files = file_names(path);
  std::optional<Json> config = read_object(path / "config.json");
  if (!config)
    throw Error("holds no config.json", path.string(),
                std::ranges::any_of(files, [](const std::string& f) { return f.ends_with(".gguf"); })
                    ? "to run the GGUF file in it, name the file itself"
                    : "name a folder that holds a whole model");
  folder.config = std::move(*config);
  if (is_file(path / "tokenizer.json")) folder.tokenizer = path / "tokenizer.json";
  folder.tokenizer_config = read_object(path / kTokenizerConfig);
  folder.generation = read_generation(path / "generation_config.json");
  folder.chat_templates = read_templates(path, folder.tokenizer_config);
  read_licence(folder);
  for (const std::string& file : files)
    if (names_licence(file)) folder.licence_files.push_back(path / file);
  folder.weights = Safetensors::open_folder(path);
  return folder;
}

}  // namespace minke

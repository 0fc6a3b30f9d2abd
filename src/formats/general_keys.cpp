#include "formats/general_keys.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr std::string_view kLicence = "minke.licence.";
constexpr size_t kMaxLicence = size_t{1} << 20;

std::optional<double> number(const Gguf& gguf, std::string_view key) {
  try {
    return gguf.number(key);
  } catch (const Error&) {  // advice of a type nobody expects is none
    return std::nullopt;
  }
}

bool is_text(std::string_view text) { return text.find('\0') == text.npos; }

// A file of a folder, spelled without tricks, that a licence could have.
bool is_licence_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '-' || c == '_';
  };
  return name.size() <= 100 && std::ranges::all_of(name, plain) && names_licence(name);
}

std::string as_yaml(std::string_view text) { return to_string(Json(text)); }  // YAML reads JSON's strings

}  // namespace

GenerationAdvice read_sampling_keys(const Gguf& gguf) {
  GenerationAdvice advice;
  advice.temperature = number(gguf, "general.sampling.temp");
  advice.top_p = number(gguf, "general.sampling.top_p");
  advice.min_p = number(gguf, "general.sampling.min_p");
  advice.repetition_penalty = number(gguf, "general.sampling.penalty_repeat");
  if (const auto k = number(gguf, "general.sampling.top_k"); k && *k >= 0 && *k < 1e9)
    advice.top_k = static_cast<int64_t>(*k);
  return advice;
}

void add_sampling_keys(GgufHeader& header, const GenerationAdvice& advice) {
  if (!advice.sample.value_or(advice.temperature.has_value())) return;  // greedy: nothing to say
  const auto add = [&](const char* key, std::optional<double> value) {
    if (value) header.add(key, {GgufType::f32, *value});
  };
  add("general.sampling.temp", advice.temperature.value_or(1));
  add("general.sampling.top_p", advice.top_p);
  add("general.sampling.min_p", advice.min_p);
  add("general.sampling.penalty_repeat", advice.repetition_penalty);
  if (advice.top_k) header.add("general.sampling.top_k", {GgufType::i32, *advice.top_k});
}

std::vector<std::string> add_licence_keys(GgufHeader& header, const HfFolder& folder) {
  const auto add = [&](const char* key, std::string_view text) {
    if (!text.empty()) header.add(key, {GgufType::string, text});
  };
  add("general.license", folder.licence);
  add("general.license.name", folder.licence_name);
  add("general.license.link", folder.licence_link);
  std::vector<std::string> left_out;
  for (const fs::path& path : folder.licence_files) {
    const std::string name = path.filename().string();
    std::error_code error;
    const bool small = fs::file_size(path, error) <= kMaxLicence && !error;
    const std::string text = small ? read_file(path, kMaxLicence) : std::string(1, '\0');
    if (is_licence_name(name) && is_text(text))
      header.add(std::string(kLicence) + name, {GgufType::string, std::string_view(text)});
    else
      left_out.push_back(name);
  }
  return left_out;
}

std::vector<std::pair<std::string, std::string>> read_licence_files(const Gguf& gguf) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const auto& [key, value] : gguf.metadata()) {
    const auto* text = std::get_if<std::string_view>(&value.value);
    if (!text || !key.starts_with(kLicence)) continue;
    const std::string name = key.substr(kLicence.size());
    if (is_licence_name(name)) files.emplace_back(name, *text);
  }
  return files;
}

std::string model_card(const Gguf& gguf, const std::string& name, const std::string& source) {
  std::string front, rest;
  for (const auto& [field, key] : {std::pair("license", "general.license"),
                                   {"license_name", "general.license.name"},
                                   {"license_link", "general.license.link"}})
    if (const GgufValue* value = gguf.find(key))
      if (const auto* text = std::get_if<std::string_view>(&value->value))
        front += fmt::format("{}: {}\n", field, as_yaml(*text));
  for (const auto& [key, value] : gguf.metadata()) {
    const auto* text = std::get_if<std::string_view>(&value.value);
    const bool said =
        key == "general.architecture" || key == "general.type" || key.starts_with("general.license");
    const bool origin = key.starts_with("minke.convert.") || key.starts_with("minke.quantize.");
    if (text && !said && (key.starts_with("general.") || origin))
      rest += fmt::format("- {}: {}\n", key, as_yaml(*text));
  }
  if (!front.empty()) front = "---\n" + front + "---\n\n";
  std::string title = as_yaml(name);  // on one line, whatever it is
  title = title.substr(1, title.size() - 2);
  return fmt::format("{}# {}\n\nConverted from {} by `minke convert`.{}", front, title, source,
                     rest.empty() ? "\n" : " What it said of itself:\n\n" + rest);
}

}  // namespace minke

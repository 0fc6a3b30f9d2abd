#include "hub/file_choice.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include <fmt/format.h>

#include "base/error.h"
#include "net/header.h"

namespace minke {
namespace {

constexpr const char* kUsualQuant = "Q4_K_M";
constexpr size_t kMaxListed = 40;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - ('a' - 'A'));
  return out;
}

std::string_view last_part(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool ends_with_any_case(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && same_letters(text.substr(text.size() - end.size()), end);
}

// "-00002-of-00003" at the end of a name.
struct Split {
  size_t part = 0, parts = 0;
};
constexpr size_t kSplitLength = 15;

std::optional<Split> split_of(std::string_view stem) {
  if (stem.size() <= kSplitLength) return std::nullopt;
  const std::string_view tail = stem.substr(stem.size() - kSplitLength);
  if (tail[0] != '-' || !same_letters(tail.substr(6, 4), "-of-")) return std::nullopt;
  Split split;
  for (size_t i = 1; i <= 5; ++i) {
    if (!is_digit(tail[i]) || !is_digit(tail[i + 9])) return std::nullopt;
    split.part = split.part * 10 + static_cast<size_t>(tail[i] - '0');
    split.parts = split.parts * 10 + static_cast<size_t>(tail[i + 9] - '0');
  }
  if (split.part == 0 || split.part > split.parts) return std::nullopt;
  return split;
}

// "Q4_K_M", "IQ2_XXS", "TQ1_0", "MXFP4_MOE", "BF16"; in capitals already.
bool is_quant(std::string_view text) {
  std::string_view rest;
  if (text.starts_with("IQ") || text.starts_with("TQ"))
    rest = text.substr(2);
  else if (text.starts_with("Q"))
    rest = text.substr(1);
  else if (text.starts_with("MXFP"))
    rest = text.substr(4);
  else
    return text == "BF16" || text == "F16" || text == "F32" || text == "FP16" || text == "FP32";
  if (rest.empty() || !is_digit(rest[0])) return false;
  rest.remove_prefix(1);
  while (!rest.empty()) {  // "_K", "_XXS", "_0"
    const size_t end = std::min(rest.find('_', 1), rest.size());
    if (rest[0] != '_' || end < 2 || end > 4) return false;
    rest.remove_prefix(end);
  }
  return true;
}

std::string quant_in_part(std::string_view part) {
  const std::string name = upper(part);
  std::string found;
  std::string_view before;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find_first_of("-. ", begin), name.size());
    const std::string_view word = std::string_view(name).substr(begin, end - begin);
    for (size_t at = 0; at < word.size(); ++at) {
      if (at > 0 && word[at - 1] != '_') continue;
      const std::string_view candidate = word.substr(at);
      if (!is_quant(candidate)) continue;
      found = candidate.starts_with("FP") ? "F" + std::string(candidate.substr(2)) : std::string(candidate);
      if (at == 0 && before == "UD") found = "UD-" + found;  // a scheme of its own beside the plain one
      break;
    }
    before = word;
    begin = end + 1;
  }
  return found;
}

bool is_gguf_model(std::string_view path) {
  if (!ends_with_any_case(path, ".gguf")) return false;
  const std::string name = upper(gguf_stem(last_part(path)));
  return name.find("MMPROJ") == std::string::npos && !name.ends_with("IMATRIX");
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < kMaxListed; ++i)
    out += (i ? ", " : "") + printable(names[i], 120);
  if (names.size() > kMaxListed) out += fmt::format(" and {} more", names.size() - kMaxListed);
  return out;
}

// By quantisation where that is unambiguous, else by file.
std::string listed(const std::vector<GgufModel>& models) {
  std::map<std::string, int> count;
  for (const GgufModel& m : models) ++count[m.quant];
  std::vector<std::string> names;
  for (const GgufModel& m : models)
    names.push_back(m.quant.empty() || count[m.quant] > 1 ? m.files.front() : m.quant);
  return listed(names);
}

bool has(const std::vector<std::string>& paths, std::string_view path) {
  return std::find(paths.begin(), paths.end(), path) != paths.end();
}

bool is_safetensors_model(const std::vector<std::string>& paths) {
  return has(paths, kSafetensors) || has(paths, kSafetensorsIndex);
}

// What a folder needs beside its weights to be run, converted and passed on.
bool accompanies_weights(std::string_view path) {
  if (path.starts_with("additional_chat_templates/") && path.ends_with(".jinja")) return true;
  if (path.find('/') != std::string_view::npos) return false;
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                           "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json",
                           "merges.txt", "chat_template.json", "README.md"})
    if (path == name) return true;
  const std::string capitals = upper(path);
  for (const char* begin : {"LICENSE", "LICENCE", "NOTICE", "USE_POLICY", "COPYING"})
    if (capitals.starts_with(begin)) return true;
  return path.ends_with(".jinja");
}

FileChoice choose_safetensors(const std::vector<std::string>& paths) {
  FileChoice choice;
  choice.safetensors = true;
  choice.sharded = has(paths, kSafetensorsIndex);
  for (const std::string& path : paths)
    if (accompanies_weights(path)) choice.files.push_back(path);
  choice.files.push_back(choice.sharded ? kSafetensorsIndex : kSafetensors);
  return choice;
}

FileChoice choose_gguf(const GgufModel& model, std::string_view subject) {
  if (!model.complete())
    throw Error(fmt::format("only {} of {} parts of '{}' are there", model.files.size(), model.parts,
                            printable(model.files.front(), 120)),
                std::string(subject));
  return {.files = model.files, .quant = model.quant};
}

FileChoice choose_usual(const std::vector<std::string>& paths, const std::vector<GgufModel>& models,
                        std::string_view subject) {
  if (is_safetensors_model(paths)) return choose_safetensors(paths);
  if (models.empty())
    throw Error("has neither GGUF files nor safetensors weights", std::string(subject),
                paths.empty() ? "it is empty" : "it has " + listed(paths));
  if (models.size() == 1) return choose_gguf(models[0], subject);
  const GgufModel* usual = nullptr;
  for (const GgufModel& m : models) {
    if (m.quant != kUsualQuant) continue;
    if (usual) throw Error("has several models", std::string(subject), "name one of them: " + listed(models));
    usual = &m;
  }
  if (!usual)
    throw Error(fmt::format("has several models and no {}", kUsualQuant), std::string(subject),
                "name one of them: " + listed(models));
  return choose_gguf(*usual, subject);
}

}  // namespace

std::string gguf_stem(std::string_view path) {
  if (ends_with_any_case(path, ".gguf")) path.remove_suffix(5);
  if (split_of(path)) path.remove_suffix(kSplitLength);
  return std::string(path);
}

std::string quant_in_name(std::string_view path) {
  std::string stem = gguf_stem(path);
  for (;;) {  // the file's own name, else the nearest folder's
    const size_t slash = stem.rfind('/');
    const std::string quant = quant_in_part(last_part(stem));
    if (!quant.empty() || slash == std::string::npos) return quant;
    stem.resize(slash);
  }
}

std::vector<GgufModel> gguf_models(const std::vector<std::string>& paths) {
  std::map<std::pair<std::string, size_t>, std::vector<std::pair<size_t, std::string>>> groups;
  for (const std::string& path : paths) {
    if (!is_gguf_model(path)) continue;
    const Split split = split_of(std::string_view(path).substr(0, path.size() - 5)).value_or(Split{1, 1});
    groups[{gguf_stem(path), split.parts}].emplace_back(split.part, path);
  }
  std::vector<GgufModel> models;
  for (auto& [key, parts] : groups) {
    std::sort(parts.begin(), parts.end());
    GgufModel model{.quant = quant_in_name(parts[0].second), .parts = key.second};
    for (auto& [part, path] : parts) model.files.push_back(std::move(path));
    models.push_back(std::move(model));
  }
  return models;
}

FileChoice choose_files(const std::vector<std::string>& paths, std::string_view select,
                        std::string_view subject) {
  const std::vector<GgufModel> models = gguf_models(paths);
  if (select.empty()) return choose_usual(paths, models, subject);
  if (select == "safetensors" && is_safetensors_model(paths)) return choose_safetensors(paths);

  std::vector<const GgufModel*> fitting;
  const auto fit = [&](auto&& condition) {
    for (const GgufModel& m : models)
      if (fitting.empty() || fitting.back() != &m)
        if (condition(m)) fitting.push_back(&m);
  };
  const auto has_file = [&](const GgufModel& m) {
    return std::any_of(m.files.begin(), m.files.end(),
                       [&](const std::string& file) { return file == select || last_part(file) == select; });
  };
  fit(has_file);
  if (fitting.empty()) fit([&](const GgufModel& m) { return same_letters(m.quant, select); });
  if (fitting.empty())
    fit([&](const GgufModel& m) { return same_letters(m.quant, "UD-" + std::string(select)); });
  if (fitting.size() == 1) return choose_gguf(*fitting[0], subject);
  if (fitting.size() > 1) {
    std::vector<std::string> names;
    for (const GgufModel* m : fitting) names.push_back(m->files.front());
    throw Error(fmt::format("'{}' fits several models", printable(select, 120)), std::string(subject),
                "name one by its file: " + listed(names));
  }
  if (has(paths, select)) return {.files = {std::string(select)}};
  const std::string what = fmt::format("has no '{}'", printable(select, 120));
  throw Error(what, std::string(subject), "it has " + (models.empty() ? listed(paths) : listed(models)));
}

}  // namespace minke

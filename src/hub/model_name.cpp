#include "hub/model_name.h"

#include <algorithm>

#include "base/error.h"
#include "net/header.h"

namespace minke {
namespace {

constexpr const char* kForm =
    "a model is named ORG/NAME, ORG/NAME:QUANT or ORG/NAME:FILE, each with @REVISION where wanted";

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// The hub's own rules for each part of a repository's name.
bool is_repo_part(std::string_view part) {
  if (part.empty() || part.size() > 96 || !is_word(part.front()) || !is_word(part.back())) return false;
  if (part.find("--") != std::string_view::npos || part.find("..") != std::string_view::npos) return false;
  return std::all_of(part.begin(), part.end(), [](char c) { return is_word(c) || c == '-' || c == '.'; });
}

// What keeps a '/'-separated path from being kept under a folder; empty where nothing does.
const char* path_flaw(std::string_view path) {
  if (path.empty()) return "it is empty";
  if (path.size() > 1024) return "it is longer than 1024 bytes";
  for (const char c : path)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return "it has control characters";
  if (path.find('\\') != std::string_view::npos) return "it has backslashes";
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty()) return begin == 0 ? "it is absolute" : "a part of it is empty";
    if (part == "." || part == "..") return "it has . or .. as a part";
    if (part.size() > 255) return "a part of it is longer than 255 bytes";
    begin = end + 1;
  }
  return nullptr;
}

}  // namespace

std::string ModelName::text() const {
  std::string out = repo.find('/') == std::string::npos ? "hf:" + repo : repo;
  if (!select.empty()) out += ":" + select;
  if (!revision.empty()) out += "@" + revision;
  return out;
}

ModelName parse_model_name(std::string_view text) {
  const auto refuse = [&](const char* why) { throw Error(why, printable(text, 200), kForm); };
  std::string_view rest = text;
  const bool prefixed = rest.starts_with("hf:");
  if (prefixed) rest.remove_prefix(rest.starts_with("hf://") ? 5 : 3);
  ModelName name;
  const size_t repo_end = std::min(rest.find_first_of(":@"), rest.size());
  name.repo = rest.substr(0, repo_end);
  rest.remove_prefix(repo_end);
  const size_t slash = name.repo.find('/');
  const std::string_view repo = name.repo;
  const bool well_named = slash == std::string::npos
                              ? prefixed && is_repo_part(repo)
                              : is_repo_part(repo.substr(0, slash)) && is_repo_part(repo.substr(slash + 1));
  if (!well_named || repo.ends_with(".git")) refuse("not the name of a model on the hub");
  if (rest.starts_with(':')) {
    const size_t end = std::min(rest.find('@'), rest.size());
    name.select = rest.substr(1, end - 1);
    rest.remove_prefix(end);
    if (const char* flaw = path_flaw(name.select)) refuse(flaw);
  }
  if (rest.starts_with('@')) {
    name.revision = rest.substr(1);
    if (const char* flaw = path_flaw(name.revision)) refuse(flaw);
  }
  return name;
}

bool is_model_name(std::string_view text) {
  try {
    parse_model_name(text);
    return true;
  } catch (const Error&) {
    return false;
  }
}

void check_repo_path(std::string_view path) {
  if (const char* flaw = path_flaw(path))
    throw Error(std::string("the hub lists a file whose name is refused: ") + flaw,
                "'" + printable(path, 200) + "'");
}

}  // namespace minke

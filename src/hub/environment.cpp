#include "hub/environment.h"

#include <fmt/core.h>

namespace minke {
namespace {

std::string value_of(const Variables& variables, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const auto value = variables(name); value && !value->empty()) return *value;
  return {};
}

std::string trimmed(std::string_view text) {
  constexpr const char* kBlanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1));
}

fs::path home(const Variables& variables) {
  const std::string home = value_of(variables, {"HOME"});
  return home.empty() ? fs::path("/") : fs::path(home);
}

// The folder a variable names, "~" at its beginning being the home.
fs::path folder(const Variables& variables, std::initializer_list<const char*> names,
                const fs::path& otherwise) {
  const std::string text = value_of(variables, names);
  if (text.empty()) return otherwise;
  if (text == "~") return home(variables);
  if (text.starts_with("~/")) return home(variables) / text.substr(2);
  return text;
}

fs::path hub_home(const Variables& variables) {
  const fs::path caches = folder(variables, {"XDG_CACHE_HOME"}, home(variables) / ".cache");
  return folder(variables, {"HF_HOME"}, caches / "huggingface");
}

fs::path hub_cache(const Variables& variables) {
  return folder(variables, {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}, hub_home(variables) / "hub");
}

std::string hub_token(const Variables& variables) {
  const std::string given = trimmed(value_of(variables, {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}));
  if (!given.empty()) return given;
  const fs::path file = folder(variables, {"HF_TOKEN_PATH"}, hub_home(variables) / "token");
  std::error_code ec;
  return fs::exists(file, ec) ? trimmed(read_file(file, 4096)) : "";
}

bool is_set(const Variables& variables, const char* name) {
  const std::string value = value_of(variables, {name});
  for (const char* yes : {"1", "on", "yes", "true"})
    if (same_letters(value, yes)) return true;
  return false;
}

}  // namespace

HubOptions hub_options(const Variables& variables) {
  HubOptions options;
  if (const std::string endpoint = value_of(variables, {"HF_ENDPOINT"}); !endpoint.empty())
    options.endpoint = endpoint;
  options.token = hub_token(variables);
  options.cache = hub_cache(variables);
  options.offline = is_set(variables, "HF_HUB_OFFLINE");
  options.http.proxies = {
      .http = value_of(variables, {"http_proxy", "all_proxy", "ALL_PROXY"}),
      .https = value_of(variables, {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}),
      .none = value_of(variables, {"no_proxy", "NO_PROXY"})};
  return options;
}

ModelPlaces model_places(const Variables& variables) {
  const fs::path data = folder(variables, {"XDG_DATA_HOME"}, home(variables) / ".local" / "share");
  return {.hub_cache = hub_cache(variables), .models = data / "minke" / "models"};
}

}  // namespace minke

#include "cli/settings.h"

#include <algorithm>
#include <cctype>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/environment.h"

namespace minke {
namespace {

// "some-name" of --some-name, "model" of MODEL; empty for what is no setting.
std::string name_of(const CLI::Option& option) {
  const auto& names = option.get_lnames();
  std::string name = names.empty() ? option.get_name(true) : names.front();
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name == "help" || name == "config" ? std::string() : name;
}

std::string variable_of(const std::string& name) {
  std::string text = "MINKE_" + name;
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
  return text;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

std::string word(const Json& value, const std::string& where) {
  if (value.is_string()) return value.as_string();
  if (value.is_array() || value.is_null()) throw Error("expected a string, a number or a boolean", where);
  return to_string(value);
}

std::vector<std::string> words(const Json& value, bool list, const std::string& where) {
  if (!value.is_array()) return {word(value, where)};
  if (!list) throw Error("takes one value, not a list", where);
  std::vector<std::string> all;
  for (const Json& entry : value.as_array()) all.push_back(word(entry, where));
  return all;
}

bool is_list(const CLI::Option& option) { return option.get_expected_max() > 1; }

void give(CLI::Option& option, const std::vector<std::string>& values, const std::string& where) {
  const bool is_flag = option.get_expected_min() == 0;
  try {
    for (const std::string& value : values) {
      if (is_flag && value != "true" && value != "false") throw Error("expected true or false", where);
      if (!is_flag || value == "true") option.add_result(value);
    }
    if (option.count() > 0) option.run_callback();
  } catch (const CLI::ParseError& e) {
    throw Error(e.what(), where);
  }
}

// Gives the option what the environment or else the file says; returns which it was.
const char* take(CLI::Option& option, const std::string& name, const Json* in_file) {
  const std::string flag = "--" + name;
  if (option.count() > 0) return "flag";
  if (const auto text = variable(variable_of(name).c_str())) {
    give(option, is_list(option) ? split(*text) : std::vector{*text},
         fmt::format("{}: {}", flag, variable_of(name)));
    return "environment";
  }
  if (!in_file) return "default";
  const std::string where = fmt::format("{}: in the file of --config", flag);
  give(option, words(*in_file, is_list(option), where), where);
  return "file";
}

}  // namespace

std::vector<Setting> take_settings(CLI::App& command, const Json& file) {
  std::map<std::string, const Json*> in_file;
  if (!file.is_null())
    for (const auto& [key, value] : file.as_object()) in_file[key] = &value;
  std::vector<Setting> all;
  for (CLI::Option* option : command.get_options()) {
    const std::string name = name_of(*option);
    if (name.empty()) continue;
    const auto member = in_file.find(name);
    Setting setting{option->get_name(), {}, {}};
    setting.source = take(*option, name, member == in_file.end() ? nullptr : member->second);
    if (member != in_file.end()) in_file.erase(member);
    setting.value = option->count() > 0 ? fmt::format("{}", fmt::join(option->results(), ","))
                                        : option->get_default_str();
    all.push_back(std::move(setting));
  }
  if (!in_file.empty())
    throw Error(fmt::format("there is no setting '{}'", in_file.begin()->first), "--config");
  return all;
}

}  // namespace minke

#pragma once
// Templates for models that come without one: the formats of MODEL.md 5.3, written for this program.

#include <functional>
#include <span>
#include <string_view>

namespace minke {

struct BuiltInTemplate {
  std::string_view name;
  std::string_view settings, body;  // the source is one after the other
};

std::span<const BuiltInTemplate> built_in_templates();

// The built-in format whose tokens a vocabulary has; empty where there is none.
std::string_view recognise_format(const std::function<bool(std::string_view token)>& has_token);

}  // namespace minke

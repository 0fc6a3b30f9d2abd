#include "serve/router.h"

namespace minke {
namespace {

std::string_view first_segment(std::string_view& path) {
  path.remove_prefix(1);  // '/'
  const std::string_view segment = path.substr(0, path.find('/'));
  path.remove_prefix(segment.size());
  return segment;
}

bool matches(std::string_view pattern, std::string_view path, PathValues& values) {
  values.clear();
  while (!pattern.empty()) {
    if (path.empty()) return false;
    const std::string_view rest = path.substr(1);
    const std::string_view wanted = first_segment(pattern), found = first_segment(path);
    if (!wanted.starts_with('{')) {
      if (wanted != found) return false;
      continue;
    }
    if (found.empty()) return false;
    if (pattern.empty()) return values.emplace_back(rest), true;
    values.emplace_back(found);
  }
  return path.empty();
}

}  // namespace

Router::Match Router::find(std::string_view method, std::string_view path) const {
  Match match;
  if (!path.starts_with('/')) return match;
  if (method == "HEAD") method = "GET";
  PathValues values;
  for (const Route& route : routes_) {
    if (!matches(route.path, path, values)) continue;
    if (route.method == method) return {&route, std::move(values), {}};
    match.allowed += (match.allowed.empty() ? "" : ", ") + route.method;
  }
  return match;
}

}  // namespace minke

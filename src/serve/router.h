#pragma once
// Which handler a method and a path lead to.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/fields.h"

namespace minke {

class Visit;

using PathValues = std::vector<std::string>;  // of the {parameters}, in order

struct Route {
  std::string method;  // "GET": also HEAD
  std::string path;    // "/v1/models/{id}"; a parameter is one or, where it is last, several segments
  std::string summary;
  std::span<const Field> fields = {};  // of the request's body
  bool open = false;                   // no key is asked for
  std::function<void(const std::shared_ptr<Visit>&, const PathValues&)> handle;
};

class Router {
 public:
  void add(Route route) { routes_.push_back(std::move(route)); }
  const std::vector<Route>& routes() const { return routes_; }

  struct Match {
    const Route* route = nullptr;  // null: there is none
    PathValues values;
    std::string allowed;  // the methods of this path, where it has others: "GET, POST"
  };
  Match find(std::string_view method, std::string_view path) const;

 private:
  std::vector<Route> routes_;
};

}  // namespace minke

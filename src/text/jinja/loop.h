#pragma once
// The variable `loop` of a for statement.

#include "text/jinja/runtime.h"

namespace minke::jinja {

struct ForStmt;
struct Scope;

struct Loop {
  explicit Loop(Items of) : items(std::move(of)) {}

  Items items;
  size_t index = 0;
  int depth = 0;
  const ForStmt* statement = nullptr;  // of a recursive loop, which can be called
  Scope* scope = nullptr;              // around it
  std::vector<Value> seen;             // what loop.changed was asked last
  bool was_asked = false;
  bool ended = false;  // a template may keep it longer; it then only tells where it was
};

bool is_loop_method(std::string_view name);  // cycle, changed
Value call_loop_method(Runtime& runtime, Loop& loop, std::string_view name, const Arguments& arguments);

}  // namespace minke::jinja

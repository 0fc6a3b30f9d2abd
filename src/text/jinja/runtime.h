#pragma once
// One rendering: its meter, its clock, and the making of values.

#include <ctime>
#include <deque>
#include <optional>

#include "text/jinja/value.h"

namespace minke::jinja {

class Runtime {
 public:
  Runtime(const Limits& limits, std::optional<std::tm> time) : meter(limits), now(time) {}

  // Each charges the meter and throws where a limit is passed.
  Value text(Text text);
  Value text(std::string bytes, bool given = false) { return this->text(Text(std::move(bytes), given)); }
  Value list(std::vector<Value> items, ListKind kind = ListKind::list);
  Value dict(std::vector<Member> members);  // of equal keys the last value wins, at the first one's place
  Value from_json(const Json& json, bool given = true);
  Namespace* make_namespace() { return &namespaces_.emplace_back(); }

  Meter meter;
  std::optional<std::tm> now;
  int line = 0;  // of the template: where an error is

 private:
  std::deque<Namespace> namespaces_;  // they may hold each other, so none owns another
};

// --- What Python's operators do (operators.cpp, print.cpp, access.cpp). All throw Error with Python's
// message.

enum class Op { add, subtract, multiply, divide, floor_divide, modulo, power };
enum class Comparison { equal, unequal, less, less_equal, greater, greater_equal, in, not_in };

Value compute(Runtime& runtime, Op op, const Value& left, const Value& right);
Value negate(const Value& value, bool minus);
bool compare(Runtime& runtime, Comparison op, const Value& left, const Value& right);
bool equal(Runtime& runtime, const Value& left, const Value& right);
bool less(Runtime& runtime, const Value& left, const Value& right);
bool contains(Runtime& runtime, const Value& container, const Value& item);

// str() and repr(). A text keeps its marks; what is printed of a container is given as soon as anything in it
// is.
Text to_text(Runtime& runtime, const Value& value);
Text representation(Runtime& runtime, const Value& value);
Text concatenate(Runtime& runtime, const std::vector<Value>& parts);  // the operator ~

Text escape_html(const Text& text);  // as markup; markup stays as it is

struct JsonForm {
  bool ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;                              // of one level; none: all on one line
  std::optional<std::pair<std::string, std::string>> separators;  // between items, after a key
  bool given = false;                                             // some of this form is: so is what it gives
};
Text to_json(Runtime& runtime, const Value& value, const JsonForm& form);  // Python's json.dumps

// What is not there gives undefined, as in Jinja; a part of undefined is an error.
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name);  // object.name
Value get_item(Runtime& runtime, const Value& object, const Value& key);            // object[key]
Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step);
Value loop_attribute(Runtime& runtime, const Loop& loop,
                     std::string_view name);  // undefined where it has none
int64_t length_of(const Value& value);

// The items one sees when iterating, kept while one looks at them.
class Items {
 public:
  explicit Items(std::shared_ptr<const List> list) : list_(std::move(list)) {}
  auto begin() const { return list_->items.begin(); }
  auto end() const { return list_->items.end(); }
  size_t size() const { return list_->items.size(); }
  bool empty() const { return list_->items.empty(); }
  const Value& operator[](size_t i) const { return list_->items[i]; }

 private:
  std::shared_ptr<const List> list_;
};
Items iterate(Runtime& runtime, const Value& value);  // a generator is used up by it

// --- Built-in names. Each finds null where there is none.

using Filter = Value (*)(Runtime&, const Value& subject, const Arguments&);
using Test = bool (*)(Runtime&, const Value& subject, const Arguments&);
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);
const Function* find_function(std::string_view name);

bool has_method(const Value& self, std::string_view name);
bool is_mutator(const Value& self, std::string_view name);  // known to Python, refused by the sandbox
Value call_method(Runtime& runtime, const Value& self, std::string_view name, const Arguments& arguments);

Text format_percent(Runtime& runtime, const Text& format, const Value& values);        // format % values
Text format_braces(Runtime& runtime, const Text& format, const Arguments& arguments);  // format.format(...)

// Throws Error with the reason where the value is undefined.
void require(const Value& value);
// Throws Error where Python could not use the value as a key.
void require_hashable(const Value& value);

}  // namespace minke::jinja

#pragma once
// What templates compute with: Python's values as far as Jinja shows them.

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "text/jinja/marked_text.h"
#include "text/jinja/meter.h"

namespace minke::jinja {

__extension__ typedef __int128 Int;  // Python's ints have no end; beyond this is an error

class Value;
class Runtime;
struct Scope;
struct Macro;
struct Loop;
struct Namespace;
struct Method;
struct Function;

// A name that is not there. It prints as nothing; most uses of it are an error, which `why` is.
struct Undefined {
  std::shared_ptr<const std::string> why;
};
struct None {};

struct Range {
  int64_t start, stop, step;
  int64_t size() const;
};

struct TextObject {
  Text text;
  Charge charge;
};
struct List;
struct Dict;

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, Int, double, std::shared_ptr<const TextObject>,
                            std::shared_ptr<const List>, std::shared_ptr<const Dict>, Range, Namespace*,
                            std::shared_ptr<Loop>, std::shared_ptr<const Macro>,
                            std::shared_ptr<const Method>, const Function*>;

  Value() : data_(None{}) {}
  template <typename T>
    requires(!std::same_as<T, Value>)
  explicit Value(T data, bool given = false) : data_(std::move(data)), given_(given) {}
  static Value undefined(std::string why);
  static Value integer(int64_t value, bool given = false) { return Value(Int{value}, given); }

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const Int* integer() const { return std::get_if<Int>(&data_); }
  const double* real() const { return std::get_if<double>(&data_); }
  const Text* text() const {
    const auto* object = std::get_if<std::shared_ptr<const TextObject>>(&data_);
    return object ? &(*object)->text : nullptr;
  }
  const std::shared_ptr<const List>* list() const { return std::get_if<std::shared_ptr<const List>>(&data_); }
  const std::shared_ptr<const Dict>* dict() const { return std::get_if<std::shared_ptr<const Dict>>(&data_); }
  const Range* range() const { return std::get_if<Range>(&data_); }
  const Data& data() const { return data_; }

  // Came from, or was computed from something given. Texts mark each byte, containers each item.
  bool given() const { return text() ? text()->any_given() : given_; }

  // Levels of containers, this one included; bounded, so that functions may walk a value by recursion.
  int depth() const;

 private:
  Data data_;
  bool given_ = false;
};

// `group` is a tuple of (grouper, list) whose parts have these names.
enum class ListKind { list, tuple, group, generator, keys, values, items };

// Immutable like every container here, but for how much of a generator has been taken.
struct List {
  std::vector<Value> items;
  ListKind kind = ListKind::list;
  int depth = 1;
  Charge charge;
  mutable size_t taken = 0;
};

using Member = std::pair<Value, Value>;
struct Dict {
  std::vector<Member> members;  // in the order of insertion, keys unequal
  int depth = 1;
  Charge charge;
  const Value* find(std::string_view key) const;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

struct Method {
  Value self;
  std::string name;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Function {
  std::string_view name;
  Value (*call)(Runtime&, const Arguments&);
};

// As Python names it in its messages: 'str', 'int', 'NoneType'.
std::string_view type_name(const Value& value);

bool truth(const Value& value);

// Numbers: bool, int and float take part in arithmetic.
struct Number {
  bool is_real = false;
  Int integer = 0;
  double real = 0;  // also of an integer
};
std::optional<Number> as_number(const Value& value);

std::string to_string(Int value);
std::string to_string(double value);  // Python's repr: 1.0, 1e+16, 0.1, inf, nan

// What Python's float() takes, white space already gone. None where it is no number.
std::optional<double> parse_real(std::string_view text);
// A number's digits without Python's single underscores between them. None where there are others.
std::optional<std::string> without_underscores(std::string_view text);

}  // namespace minke::jinja

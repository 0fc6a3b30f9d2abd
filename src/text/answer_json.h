#pragma once
// A call as a JSON object: {"name": NAME, "arguments": {...}}, in either order.

#include <span>
#include <string>
#include <string_view>

#include "text/json_checker.h"

namespace minke {

// Read a byte at a time, from the object's own brace on.
class CallObject {
 public:
  enum class Status { on, whole, broken };

  // What the arguments may be called. A `type` or an `id` beside them is passed over where it is a string.
  explicit CallObject(std::span<const std::string_view> argument_keys) : argument_keys_(argument_keys) {}

  Status step(char c);
  const std::string& name() const { return name_; }
  bool has_name() const { return has_name_; }
  bool has_arguments() const { return has_arguments_; }  // their brace at least
  // The arguments read since, as they were written, without the brace that closes them.
  std::string take_arguments();

 private:
  enum class State { open, first_key, key, in_key, colon, value, in_name, in_arguments, in_other, after };

  Status read(State string, char c);  // a string's byte, from its quote on
  Status begin_value(char c);
  std::string text() const;  // of the string that was read

  std::span<const std::string_view> argument_keys_;
  State state_ = State::open;
  JsonChecker checker_;  // of a string or the arguments
  std::string read_;     // the string
  std::string key_, name_, arguments_;
  bool has_name_ = false, has_arguments_ = false;
};

}  // namespace minke

#include "text/answer_json.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "text/answer_machine.h"

namespace minke {

using Status = CallObject::Status;

std::string CallObject::text() const { return parse_json(read_).as_string(); }

std::string CallObject::take_arguments() { return std::exchange(arguments_, {}); }

Status CallObject::begin_value(char c) {
  if (is_json_space(c)) return Status::on;
  const bool arguments = std::ranges::count(argument_keys_, key_) > 0;
  if (arguments) {
    checker_ = JsonChecker(true);
    if (has_arguments_ || !checker_.step(c)) return Status::broken;
    has_arguments_ = true;
    arguments_ = c;
    state_ = State::in_arguments;
    return Status::on;
  }
  if (key_ == "name" && !has_name_) return read(State::in_name, c);
  if (key_ == "type" || key_ == "id") return read(State::in_other, c);
  return Status::broken;
}

Status CallObject::read(State string, char c) {
  if (state_ != string) {
    if (c != '"') return Status::broken;
    checker_ = JsonChecker();
    read_.clear();
    state_ = string;
  }
  read_ += c;
  if (!checker_.step(c)) return Status::broken;
  if (!checker_.complete()) return Status::on;
  if (string == State::in_key) key_ = text();
  if (string == State::in_name) {
    name_ = text();
    has_name_ = true;
  }
  state_ = string == State::in_key ? State::colon : State::after;
  return Status::on;
}

Status CallObject::step(char c) {
  switch (state_) {
    case State::open: state_ = State::first_key; return c == '{' ? Status::on : Status::broken;
    case State::first_key:
    case State::key: return is_json_space(c) ? Status::on : read(State::in_key, c);
    case State::in_key:
    case State::in_name:
    case State::in_other: return read(state_, c);
    case State::colon:
      if (is_json_space(c)) return Status::on;
      state_ = State::value;
      return c == ':' ? Status::on : Status::broken;
    case State::value: return begin_value(c);
    case State::in_arguments:
      if (!checker_.step(c)) return Status::broken;
      if (checker_.complete())
        state_ = State::after;
      else
        arguments_ += c;
      return Status::on;
    case State::after:
      if (is_json_space(c)) return Status::on;
      state_ = State::key;
      if (c == ',') return Status::on;
      return c == '}' && has_name_ && has_arguments_ ? Status::whole : Status::broken;
  }
  return Status::broken;
}

}  // namespace minke

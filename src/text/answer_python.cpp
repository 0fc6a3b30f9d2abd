#include "text/answer_python.h"

#include "text/answer_machine.h"
#include "text/json_checker.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr size_t kMaxDepth = JsonChecker::kMaxDepth;

bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
         c == '+' || c == '-';
}
bool is_name(char c) { return is_word(c) && c != '.' && c != '+' && c != '-'; }

bool is_number(std::string_view word) {
  JsonChecker checker;
  for (const char c : word)
    if (!checker.step(c)) return false;
  return checker.complete();
}

}  // namespace

using Status = PythonArguments::Status;

void PythonArguments::separate() {
  if (!empty_.back()) json_ += ", ";
  empty_.back() = false;
}

Status PythonArguments::open(Frame frame) {
  if (frames_.size() == kMaxDepth) return Status::broken;
  separate();
  frames_.push_back(frame);
  empty_.push_back(true);
  json_ += frame == Frame::list ? '[' : '{';
  state_ = frame == Frame::list ? State::value : State::key;
  return Status::on;
}

// Behind a value, a comma or an opening bracket.
Status PythonArguments::close(char c) {
  const Frame frame = frames_.back();
  if (c != (frame == Frame::call ? ')' : frame == Frame::list ? ']' : '}')) return Status::broken;
  if (frame == Frame::call) return Status::whole;
  json_ += c;
  frames_.pop_back();
  empty_.pop_back();
  state_ = State::after;
  return Status::on;
}

Status PythonArguments::begin_name(char c) {
  if (is_json_space(c)) return Status::on;
  if (c == ')') return close(c);
  word_ = c;
  state_ = State::equals;
  return is_name(c) && (c < '0' || c > '9') ? Status::on : Status::broken;
}

Status PythonArguments::begin_string(char c, bool is_key) {
  separate();
  is_key_ = is_key;
  quote_ = c;
  json_ += '"';
  state_ = State::string;
  return Status::on;
}

Status PythonArguments::begin_key(char c) {
  if (is_json_space(c)) return Status::on;
  return c == '"' || c == '\'' ? begin_string(c, true) : close(c);
}

Status PythonArguments::begin_value(char c) {
  if (is_json_space(c)) return Status::on;
  if (c == '"' || c == '\'') return begin_string(c, false);
  if (c == '[' || c == '{') return open(c == '[' ? Frame::list : Frame::dict);
  if (c == ']' && frames_.back() == Frame::list) return close(c);
  word_ = c;
  state_ = State::word;
  return is_word(c) ? Status::on : Status::broken;
}

Status PythonArguments::string(char c) {
  if (c == quote_) {
    json_ += '"';
    state_ = is_key_ ? State::colon : State::after;
  } else if (c == '\\') {
    state_ = State::escape;
  } else {
    append_json_escaped(json_, c);  // a line break too, which Python would not take
  }
  return Status::on;
}

Status PythonArguments::escape(char c) {
  static constexpr std::string_view kNames = "ntrbfav", kBytes = "\n\t\r\b\f\a\v";
  state_ = State::string;
  if (c == 'x' || c == 'u' || c == 'U') {
    hex_left_ = c == 'x' ? 2 : c == 'u' ? 4 : 8;
    code_ = 0;
    state_ = State::hex;
  } else if (c >= '0' && c <= '7') {
    return Status::broken;  // octal
  } else if (const size_t at = kNames.find(c); at != kNames.npos) {
    append_json_escaped(json_, kBytes[at]);
  } else if (c == '\\' || c == '\'' || c == '"') {
    append_json_escaped(json_, c);
  } else if (c != '\n') {  // which joins lines
    json_ += "\\\\";
    append_json_escaped(json_, c);
  }
  return Status::on;
}

Status PythonArguments::hex(char c) {
  const int value = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
  if (value < 0 || code_ > 0x10FFFF) return Status::broken;
  code_ = code_ << 4 | static_cast<char32_t>(value);
  if (--hex_left_ > 0) return Status::on;
  if (code_ > 0x10FFFF || (code_ >= 0xD800 && code_ < 0xE000)) return Status::broken;
  std::string character;
  append_utf8(character, code_);
  for (const char byte : character) append_json_escaped(json_, byte);
  state_ = State::string;
  return Status::on;
}

Status PythonArguments::end_word() {
  static constexpr std::pair<std::string_view, std::string_view> kWords[] = {
      {"True", "true"}, {"False", "false"}, {"None", "null"}};
  for (const auto& [python, json] : kWords)
    if (word_ == python) word_ = json;
  if (!is_number(word_)) return Status::broken;  // true, false and null pass as well
  separate();
  json_ += word_;
  state_ = State::after;
  return Status::on;
}

Status PythonArguments::after(char c) {
  if (is_json_space(c)) return Status::on;
  if (c != ',') return close(c);
  const Frame frame = frames_.back();
  state_ = frame == Frame::call ? State::name : frame == Frame::list ? State::value : State::key;
  return Status::on;
}

Status PythonArguments::step(char c) {
  switch (state_) {
    case State::name: return begin_name(c);
    case State::equals:
      if (is_name(c)) {
        word_ += c;
        return Status::on;
      }
      if (c != '=' || !names_.insert(word_).second) return Status::broken;
      separate();
      json_ += '"' + word_ + "\": ";
      empty_.back() = true;
      state_ = State::value;
      return Status::on;
    case State::key: return begin_key(c);
    case State::value: return begin_value(c);
    case State::string: return string(c);
    case State::escape: return escape(c);
    case State::hex: return hex(c);
    case State::word:
      if (is_word(c)) {
        word_ += c;
        return Status::on;
      }
      if (end_word() == Status::broken) return Status::broken;
      return after(c);
    case State::after: return after(c);
    case State::colon:
      if (is_json_space(c)) return Status::on;
      json_ += ": ";
      empty_.back() = true;
      state_ = State::value;
      return c == ':' ? Status::on : Status::broken;
  }
  return Status::broken;
}

}  // namespace minke

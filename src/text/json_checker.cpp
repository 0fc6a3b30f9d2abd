#include "text/json_checker.h"

#include <string_view>

namespace minke {
namespace {

constexpr std::string_view kLiterals[] = {"true", "false", "null"};
// A double holds all numbers below 10^308, and rounds what is too small to 0.
constexpr int kMaxDigits = 308, kMaxNegativeExponent = 9999;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool JsonChecker::open(char c) {
  if (depth_ == max_depth_) return false;
  const uint64_t bit = uint64_t{1} << depth_++;
  objects_ = c == '{' ? objects_ | bit : objects_ & ~bit;
  state_ = c == '{' ? State::first_key : State::first_item;
  return true;
}

bool JsonChecker::close(char c) {
  if (depth_ == 0 || c != (in_object() ? '}' : ']')) return false;
  --depth_;
  state_ = State::after;
  return true;
}

bool JsonChecker::begin_value(char c) {
  if (object_only_ && depth_ == 0 && c != '{') return false;
  if (c == '{' || c == '[') return open(c);
  if (c == '"') {
    state_ = State::string;
    is_key_ = false;
    return true;
  }
  if (c == '-' || is_digit(c)) {
    state_ = c == '-' ? State::minus : c == '0' ? State::zero : State::digits;
    digits_ = 1;
    exponent_ = 0;
    negative_exponent_ = false;
    return true;
  }
  for (uint8_t i = 0; i < 3; ++i) {
    if (kLiterals[i][0] != c) continue;
    state_ = State::literal;
    literal_ = i;
    seen_ = 1;
    return true;
  }
  return false;
}

bool JsonChecker::number(char c) {
  const bool digit = is_digit(c), e = c == 'e' || c == 'E';
  switch (state_) {
    case State::minus: state_ = c == '0' ? State::zero : State::digits; return digit;
    case State::digits:
      if (digit) return ++digits_ <= kMaxDigits;
      [[fallthrough]];
    case State::zero:
      if (!e && c != '.') return false;
      state_ = e ? State::exponent : State::point;
      return true;
    case State::point: state_ = State::fraction; return digit;
    case State::fraction:
      if (e) state_ = State::exponent;
      return digit || e;
    case State::exponent:
      if (c == '+' || c == '-') {
        negative_exponent_ = c == '-';
        state_ = State::exponent_sign;
        return true;
      }
      [[fallthrough]];
    case State::exponent_sign: state_ = State::exponent_digits; [[fallthrough]];
    case State::exponent_digits:
      if (!digit) return false;
      exponent_ = static_cast<uint16_t>(exponent_ * 10 + (c - '0'));
      return negative_exponent_ ? exponent_ <= kMaxNegativeExponent : exponent_ + digits_ <= kMaxDigits;
    default: return false;
  }
}

bool JsonChecker::hex_digit(char c) {
  const int value = hex_value(c);
  if (value < 0) return false;
  hex_ = static_cast<uint16_t>(hex_ << 4 | value);
  ++seen_;
  if (state_ == State::low_hex) {  // DC00 to DFFF
    if (seen_ == 1 && value != 0xD) return false;
    if (seen_ == 2 && value < 0xC) return false;
    if (seen_ == 4) state_ = State::string;
    return true;
  }
  if (seen_ == 2 && hex_ >= 0xDC && hex_ <= 0xDF) return false;  // a low surrogate without a high one
  if (seen_ == 4) state_ = hex_ >= 0xD800 && hex_ <= 0xDBFF ? State::low_escape : State::string;
  return true;
}

bool JsonChecker::string(char c) {
  switch (state_) {
    case State::string:
      if (c == '"') {
        state_ = is_key_ ? State::colon : State::after;
        return true;
      }
      if (c == '\\') state_ = State::escape;
      return static_cast<unsigned char>(c) >= 0x20;
    case State::escape:
      if (c == 'u') {
        state_ = State::hex;
        hex_ = seen_ = 0;
        return true;
      }
      state_ = State::string;
      return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
    case State::low_escape: state_ = State::low_u; return c == '\\';
    case State::low_u:
      state_ = State::low_hex;
      hex_ = seen_ = 0;
      return c == 'u';
    default: return hex_digit(c);
  }
}

bool JsonChecker::step(char c) {
  if (in_string()) return string(c);
  if (state_ == State::literal) {
    const std::string_view word = kLiterals[literal_];
    if (c != word[seen_]) return false;
    if (++seen_ == word.size()) state_ = State::after;
    return true;
  }
  if (state_ >= State::minus) {
    const bool whole = is_whole_number();
    if (!whole || is_digit(c) || c == '.' || c == 'e' || c == 'E') return number(c);
    state_ = State::after;  // what ends a number stands behind it
  }
  if (is_space(c)) return true;
  switch (state_) {
    case State::value: return begin_value(c);
    case State::first_item: return c == ']' ? close(c) : begin_value(c);
    case State::first_key:
      if (c == '}') return close(c);
      [[fallthrough]];
    case State::key:
      state_ = State::string;
      is_key_ = true;
      return c == '"';
    case State::colon: state_ = State::value; return c == ':';
    case State::after:
      if (c != ',') return close(c);
      state_ = in_object() ? State::key : State::value;
      return depth_ > 0;
    default: return false;
  }
}

std::string JsonChecker::completion() const {
  std::string text = inner_completion();
  for (int d = depth_; d > 0; --d) text += (objects_ >> (d - 1) & 1) != 0 ? '}' : ']';
  return text;
}

int JsonChecker::least() const {
  if (state_ == State::string) return depth_ + (is_key_ ? 3 : 1);
  return depth_ + static_cast<int>(inner_completion().size());
}

// Of the value itself, its containers still open.
std::string JsonChecker::inner_completion() const {
  std::string text;
  switch (state_) {
    case State::value: text = object_only_ && depth_ == 0 ? "{}" : "0"; break;
    case State::key: text = "\"\":0"; break;
    case State::colon: text = ":0"; break;
    case State::first_key:
    case State::first_item:
    case State::after:
    case State::zero:
    case State::digits:
    case State::fraction:
    case State::exponent_digits: break;
    case State::literal: text = kLiterals[literal_].substr(seen_); break;
    case State::minus:
    case State::point:
    case State::exponent:
    case State::exponent_sign: text = "0"; break;
    case State::escape: text = "n"; break;
    case State::hex: text.assign(4u - seen_, '0'); break;
    case State::low_escape: text = "\\uDC00"; break;
    case State::low_u: text = "uDC00"; break;
    case State::low_hex: text = std::string_view("DC00").substr(seen_); break;
    case State::string: break;
  }
  if (state_ == State::hex && seen_ > 0) {
    // The zeros may make it a high surrogate, which needs the low one too.
    const auto whole = static_cast<unsigned>(hex_) << 4 * (4 - seen_);
    if (whole >= 0xD800 && whole <= 0xDBFF) text += "\\uDC00";
  }
  if (in_string()) text += is_key_ ? "\":0" : "\"";
  return text;
}

}  // namespace minke

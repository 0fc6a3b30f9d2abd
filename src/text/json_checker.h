#pragma once
// Whether JSON is well formed, told byte by byte as it comes (RFC 8259).

#include <cstdint>
#include <string>

namespace minke {

// A few machine words: copied freely. What it takes, parse_json takes too (repeated keys aside): numbers that
// a double cannot hold and unpaired surrogates are refused. Bytes of other characters than ASCII are fine in
// strings; that they are UTF-8 is not looked at.
class JsonChecker {
 public:
  static constexpr int kMaxDepth = 64;

  // `object_only`: the value must be an object.
  explicit JsonChecker(bool object_only = false, int max_depth = kMaxDepth)
      : max_depth_(static_cast<uint8_t>(max_depth)), object_only_(object_only) {}

  // False where the byte cannot come next; the checker is then of no more use. White space may surround the
  // value.
  bool step(char c);
  // A whole value has come. A number may go on all the same.
  bool complete() const { return depth_ == 0 && (state_ == State::after || is_whole_number()); }
  bool may_grow() const { return is_whole_number(); }
  // Inside a string, where any byte but a quote, a backslash and control characters may come.
  bool in_plain_string() const { return state_ == State::string; }
  bool in_string() const { return state_ >= State::string && state_ <= State::low_hex; }
  // The shortest text that makes the value complete.
  std::string completion() const;
  int least() const;  // its bytes

 private:
  enum class State : uint8_t {
    value,
    first_key,   // or the object's end
    key,         // behind a comma
    colon,       // awaited
    first_item,  // or the array's end
    after,       // a value: a comma, the container's end, or nothing more
    literal,
    minus,
    zero,
    digits,
    point,
    fraction,
    exponent,       // behind the e
    exponent_sign,  // and its sign
    exponent_digits,
    string,
    escape,
    hex,         // behind \u
    low_escape,  // behind a high surrogate: a backslash,
    low_u,       // u,
    low_hex,     // and the low one
  };

  bool open(char c);
  bool close(char c);
  bool begin_value(char c);
  bool number(char c);
  bool string(char c);
  bool hex_digit(char c);
  std::string inner_completion() const;
  bool is_whole_number() const {
    return state_ == State::zero || state_ == State::digits || state_ == State::fraction ||
           state_ == State::exponent_digits;
  }
  bool in_object() const { return depth_ > 0 && (objects_ >> (depth_ - 1) & 1) != 0; }

  uint64_t objects_ = 0;  // bit d: the container at depth d + 1 is an object
  State state_ = State::value;
  uint8_t depth_ = 0;
  uint8_t seen_ = 0;     // characters of a literal, hex digits
  uint8_t literal_ = 0;  // which
  uint8_t max_depth_;
  bool object_only_;
  bool is_key_ = false;  // the string is one
  bool negative_exponent_ = false;
  uint16_t hex_ = 0;
  uint16_t digits_ = 0;    // of a number's integer part
  uint16_t exponent_ = 0;  // its size
};

}  // namespace minke

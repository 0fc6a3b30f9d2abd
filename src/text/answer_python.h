#pragma once
// The arguments of a call as Python writes them, name=value, ..., turned into JSON.

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace minke {

// Read a byte at a time, from behind the opening parenthesis on. Values are literals: strings, numbers, True,
// False, None and JSON's words for them, lists, and dicts whose keys are strings.
class PythonArguments {
 public:
  enum class Status { on, whole, broken };  // whole: with this byte, the closing parenthesis

  Status step(char c);
  // The JSON since, but for the brace that closes the object.
  std::string take() { return std::exchange(json_, {}); }

 private:
  enum class State { name, equals, key, colon, value, string, escape, hex, word, after };
  enum class Frame : char { call, list, dict };

  Status open(Frame frame);
  Status close(char c);
  Status begin_name(char c);
  Status begin_key(char c);
  Status begin_string(char c, bool is_key);
  Status begin_value(char c);
  Status string(char c);
  Status escape(char c);
  Status hex(char c);
  Status end_word();
  Status after(char c);
  void separate();  // from what stands before

  std::vector<Frame> frames_{Frame::call};
  std::vector<bool> empty_{true};  // [frame] what comes next needs no comma
  State state_ = State::name;
  char quote_ = 0;
  bool is_key_ = false;
  int hex_left_ = 0;
  char32_t code_ = 0;
  std::string word_;  // a name, number or constant
  std::set<std::string> names_;
  std::string json_ = "{";
};

}  // namespace minke

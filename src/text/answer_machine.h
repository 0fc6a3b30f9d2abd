#pragma once
// What the parsers of answers are made of (answer_*.cpp). All of it works byte by byte: so no cut of the text
// can change what comes out.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/answer_parser.h"

namespace minke {

inline bool is_json_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
// A byte of a text as it stands inside of a JSON string.
void append_json_escaped(std::string& out, char c);

std::string_view trimmed(std::string_view text);  // of JSON's white space
std::string not_offered(std::string_view name);   // says so

// Where an answer goes: events, neighbours of one kind joined, and the whole of it.
class AnswerOutput {
 public:
  explicit AnswerOutput(std::vector<std::string> tools) : tools_(std::move(tools)) {}

  bool offers(std::string_view name) const;
  void reasoning(std::string_view text);
  void content(std::string_view text);
  void begin_call(std::string name);
  void arguments(std::string_view text);  // all but the last brace,
  void end_call();                        // which comes here
  void break_call();                      // none under way: nothing
  bool in_call() const { return in_call_; }

  const ParsedAnswer& answer() const { return answer_; }
  void fail(std::string why) { answer_.fault = std::move(why); }
  std::vector<AnswerEvent> take() { return std::exchange(events_, {}); }

 private:
  void add(AnswerEvent::Kind kind, std::string_view text);

  std::vector<std::string> tools_;
  ParsedAnswer answer_;
  ToolCall call_;  // under way
  bool in_call_ = false;
  std::vector<AnswerEvent> events_;
};

// Text with the mark of each byte, as Marker has it.
inline void append(Marker& text, char c, bool added) {
  text.text += c;
  text.added += static_cast<char>(added);
}

// Which of some fixed texts stands here. None may begin with another.
class Choice {
 public:
  static constexpr int kOpen = -1, kNone = -2;
  explicit Choice(std::vector<Marker> markers) : markers_(std::move(markers)) {}
  int step(char c, bool added);  // the marker that is whole now, or kOpen, or kNone: none of them can be
  void reset() { read_ = {}; }
  bool begun() const { return !read_.text.empty(); }

 private:
  std::vector<Marker> markers_;
  Marker read_;
};

// The first of some fixed texts in a stream.
class Finder {
 public:
  explicit Finder(std::vector<Marker> markers) : markers_(std::move(markers)) {}
  // The marker that is whole now, or -1. Appends to `passed` what cannot be part of one any more.
  int step(char c, bool added, std::string& passed);
  std::string take_held() { return std::exchange(held_, {}).text; }
  bool holds() const { return !held_.text.empty(); }

 private:
  std::vector<Marker> markers_;
  Marker held_;
};

enum class Reading {
  on,
  done,    // the last call and its markup are whole; the byte was part of it
  broken,  // `fault` says why
  text,    // it was no call to begin with, but text
};

// Reads calls from behind what opened them.
class CallReader {
 public:
  CallReader(AnswerOutput& out, Marker opening, bool marked)
      : out_(out), raw_(std::move(opening)), marked_(marked) {}
  virtual ~CallReader() = default;
  CallReader(const CallReader&) = delete;
  CallReader& operator=(const CallReader&) = delete;

  Reading step(char c, bool added) {
    append(raw_, c, added);
    return read(c, added);
  }
  // The answer has ended.
  virtual Reading finish() = 0;
  // No call has begun to come out of what was read, and it is too long to wait.
  Reading give_up() { return fail("a call is too long"); }
  // All that was read since the last whole call.
  const Marker& raw() const { return raw_; }
  const std::string& fault() const { return fault_; }

 protected:
  virtual Reading read(char c, bool added) = 0;
  // Without a marker before it, what has not begun to come out as a call is text.
  Reading fail(std::string why);
  Reading cut_off() { return fail("the answer ends inside of a call"); }
  bool any_whole() const { return any_whole_; }
  Reading begin_call(const std::string& name);  // on, or fails where it was not offered
  void end_call();                              // all that was read belongs to it
  void end_call_before_last_byte();

  AnswerOutput& out_;

 private:
  Marker raw_;
  bool marked_;
  bool any_whole_ = false;
  std::string fault_;
};

// What opens calls in a syntax.
struct CallOpening {
  std::string_view text;
  bool at_start = false;  // counts where the answer begins with it, or its content behind the reasoning
  bool marked = true;     // can be nothing but a call
};
std::vector<CallOpening> call_openings(CallSyntax syntax);

// Texts that a reader of the syntax looks for, as far as a vocabulary may have tokens for them.
std::vector<std::string_view> call_markers(CallSyntax syntax);

// `which` of call_openings was met, as `opening` with the white space before it.
std::unique_ptr<CallReader> make_call_reader(const AnswerFormat& format, size_t which, AnswerOutput& out,
                                             Marker opening);

// By family: answer_deepseek.cpp, answer_dsml.cpp, answer_hermes.cpp, answer_llama.cpp.
std::unique_ptr<CallReader> read_deepseek(const AnswerFormat& format, AnswerOutput& out, Marker opening);
std::unique_ptr<CallReader> read_dsml(const AnswerFormat& format, AnswerOutput& out, Marker opening);
std::unique_ptr<CallReader> read_tool_call(const AnswerFormat& format, AnswerOutput& out, Marker opening);
std::unique_ptr<CallReader> read_fence(AnswerOutput& out, Marker opening);
std::unique_ptr<CallReader> read_llama(const AnswerFormat& format, AnswerOutput& out, Marker opening,
                                       bool marked);

}  // namespace minke

#include "text/answer_machine.h"

#include <algorithm>

#include <fmt/format.h>

namespace minke {
namespace {

bool begins(const Marker& marker, const Marker& read) {
  const size_t n = read.text.size();
  return marker.text.compare(0, n, read.text) == 0 && marker.added.compare(0, n, read.added) == 0;
}

// The marker that was read, or kOpen where it may become one.
int choose(const std::vector<Marker>& markers, const Marker& read) {
  int result = Choice::kNone;
  for (size_t i = 0; i < markers.size(); ++i) {
    if (!begins(markers[i], read)) continue;
    if (markers[i].text.size() == read.text.size()) return static_cast<int>(i);
    result = Choice::kOpen;
  }
  return result;
}

}  // namespace

void append_json_escaped(std::string& out, char c) {
  switch (c) {
    case '"': out += "\\\""; break;
    case '\\': out += "\\\\"; break;
    case '\n': out += "\\n"; break;
    case '\r': out += "\\r"; break;
    case '\t': out += "\\t"; break;
    case '\b': out += "\\b"; break;
    case '\f': out += "\\f"; break;
    default:
      if (static_cast<unsigned char>(c) < 0x20)
        out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
      else
        out += c;
  }
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_json_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_json_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string not_offered(std::string_view name) {
  return fmt::format("'{}' was called, which was not offered", name);
}

bool AnswerOutput::offers(std::string_view name) const {
  return std::find(tools_.begin(), tools_.end(), name) != tools_.end();
}

void AnswerOutput::add(AnswerEvent::Kind kind, std::string_view text) {
  using Kind = AnswerEvent::Kind;
  const bool of_call = kind != Kind::reasoning && kind != Kind::content;
  const int index = of_call ? static_cast<int>(answer_.calls.size()) : 0;
  const bool joins = kind == Kind::reasoning || kind == Kind::content || kind == Kind::arguments;
  if (joins && !events_.empty() && events_.back().kind == kind)
    events_.back().text += text;
  else
    events_.push_back({kind, index, std::string(text)});
}

void AnswerOutput::reasoning(std::string_view text) {
  if (text.empty()) return;
  answer_.reasoning += text;
  add(AnswerEvent::Kind::reasoning, text);
}

void AnswerOutput::content(std::string_view text) {
  if (text.empty()) return;
  answer_.content += text;
  add(AnswerEvent::Kind::content, text);
}

void AnswerOutput::begin_call(std::string name) {
  add(AnswerEvent::Kind::call, name);
  call_ = {std::move(name), {}};
  in_call_ = true;
}

void AnswerOutput::arguments(std::string_view text) {
  if (text.empty()) return;
  call_.arguments += text;
  add(AnswerEvent::Kind::arguments, text);
}

void AnswerOutput::end_call() {
  arguments("}");
  add(AnswerEvent::Kind::call_end, {});
  answer_.calls.push_back(std::move(call_));
  in_call_ = false;
}

void AnswerOutput::break_call() {
  if (in_call_) add(AnswerEvent::Kind::call_broken, {});
  in_call_ = false;
}

int Choice::step(char c, bool added) {
  append(read_, c, added);
  return choose(markers_, read_);
}

int Finder::step(char c, bool added, std::string& passed) {
  append(held_, c, added);
  while (!held_.text.empty()) {
    const int found = choose(markers_, held_);
    if (found >= 0) held_ = {};
    if (found != Choice::kNone) return found;
    passed += held_.text.front();
    held_.text.erase(0, 1);
    held_.added.erase(0, 1);
  }
  return Choice::kOpen;
}

Reading CallReader::fail(std::string why) {
  if (!marked_ && !any_whole_ && !out_.in_call()) return Reading::text;
  fault_ = std::move(why);
  return Reading::broken;
}

Reading CallReader::begin_call(const std::string& name) {
  if (!out_.offers(name)) return fail(not_offered(name));
  out_.begin_call(name);
  return Reading::on;
}

void CallReader::end_call() {
  out_.end_call();
  raw_ = {};
  any_whole_ = true;
}

void CallReader::end_call_before_last_byte() {
  Marker last{raw_.text.substr(raw_.text.size() - 1), raw_.added.substr(raw_.added.size() - 1)};
  end_call();
  raw_ = std::move(last);
}

}  // namespace minke

#pragma once
// For tests of answers: texts in which added tokens are marked, and what parsers make of them.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/answer_parser.h"

namespace minke {

// A text as an engine delivers it.
struct MarkedText {
  std::string text;
  std::vector<TextRun> added;
};

// Marks each of the format's markers that is an added token, wherever it stands.
inline MarkedText marked(const AnswerFormat& format, std::string_view text) {
  MarkedText result{std::string(text), {}};
  std::vector<bool> flags(text.size());
  for (const std::string& marker : format.markers())
    for (size_t at = 0; (at = text.find(marker, at)) != text.npos; at += marker.size())
      for (size_t i = 0; i < marker.size(); ++i) flags[at + i] = true;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!flags[i]) continue;
    if (!result.added.empty() && result.added.back().end == i)
      ++result.added.back().end;
    else
      result.added.push_back({i, i + 1});
  }
  return result;
}

inline AnswerFormat answer_format(CallSyntax syntax, bool tokens = true) {
  AnswerFormat format;
  format.calls = syntax;
  format.thinks = true;
  // What a vocabulary of such a model has; V3.2 writes its markup in ordinary tokens.
  if (tokens)
    format.has_token = [](std::string_view text) {
      return text.front() == '<' && text.back() == '>' && text.find("DSML") == text.npos;
    };
  return format;
}

struct Parsed {
  ParsedAnswer answer;
  std::vector<AnswerEvent> events;  // neighbours of a kind joined
  bool operator==(const Parsed&) const = default;
};

inline void join(std::vector<AnswerEvent>& all, std::vector<AnswerEvent> more) {
  using Kind = AnswerEvent::Kind;
  for (AnswerEvent& event : more) {
    const bool joins =
        event.kind == Kind::reasoning || event.kind == Kind::content || event.kind == Kind::arguments;
    if (joins && !all.empty() && all.back().kind == event.kind)
      all.back().text += event.text;
    else
      all.push_back(std::move(event));
  }
}

// Feeds the text in parts that end at `cuts` (sorted).
inline Parsed parse_in_parts(const AnswerFormat& format, const AnswerOptions& options, const MarkedText& text,
                             const std::vector<size_t>& cuts) {
  AnswerParser parser(format, options);
  Parsed parsed;
  size_t begin = 0;
  const auto feed = [&](size_t end) {
    std::vector<TextRun> added;
    for (const TextRun& run : text.added) {
      const size_t from = std::max(run.begin, begin), to = std::min(run.end, end);
      if (from < to) added.push_back({from - begin, to - begin});
    }
    join(parsed.events, parser.feed(std::string_view(text.text).substr(begin, end - begin), added));
    begin = end;
  };
  for (const size_t cut : cuts) feed(cut);
  feed(text.text.size());
  join(parsed.events, parser.finish());
  parsed.answer = parser.answer();
  return parsed;
}

// What is wrong with an answer, whatever the text was; empty: nothing.
inline std::string complaint(const Parsed& parsed, const AnswerOptions& options, std::string_view text) {
  using Kind = AnswerEvent::Kind;
  ParsedAnswer joined;
  ToolCall call;
  bool open = false, broken = false;
  for (const AnswerEvent& event : parsed.events) {
    const bool of_call = event.kind != Kind::content && event.kind != Kind::reasoning;
    if (of_call && event.index != static_cast<int>(joined.calls.size())) return "a wrong index";
    if (broken && event.kind != Kind::content) return "more than text behind a broken call";
    switch (event.kind) {
      case Kind::reasoning: joined.reasoning += event.text; break;
      case Kind::content: joined.content += event.text; break;
      case Kind::call:
        if (open) return "a call inside of a call";
        if (std::ranges::count(options.tools, event.text) == 0) return "a tool that was not offered";
        call = {event.text, {}};
        break;
      case Kind::arguments: call.arguments += event.text; break;
      case Kind::call_end:
      case Kind::call_broken: broken = event.kind == Kind::call_broken; break;
    }
    if (of_call && event.kind != Kind::call && !open) return "a part of a call outside of one";
    if (!of_call && open) return "text inside of a call";
    if (of_call) open = event.kind == Kind::call || event.kind == Kind::arguments;
    if (!of_call || open) continue;
    bool object = false;
    try {
      object = parse_json(call.arguments, {.reject_repeated_keys = false}).is_object();
    } catch (const Error&) {
      object = false;
    }
    if (object == broken) return "arguments that are an object exactly where the call is not whole";
    if (!broken) joined.calls.push_back(call);
  }
  if (open) return "a call without an end";
  joined.fault = parsed.answer.fault;
  if (joined != parsed.answer) return "events that are not the answer";
  if (broken && parsed.answer.fault.empty()) return "a broken call without a word";
  const std::string& content = parsed.answer.content;
  if (broken && (content.empty() || content.back() != text.back())) return "a broken call whose text is lost";
  return {};
}

inline Parsed parse_whole(const AnswerFormat& format, const AnswerOptions& options, std::string_view text) {
  return parse_in_parts(format, options, marked(format, text), {});
}

}  // namespace minke

// The grammars of the formats, from the elements of call_grammar.h.

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "text/answer_texts.h"
#include "text/call_grammar.h"

namespace minke {

using namespace answer_texts;

namespace {

// What a State can count.
constexpr size_t kMostTools = 4096, kLongest = 4096;

}  // namespace

class CallGrammarBuilder {
 public:
  CallGrammarBuilder(const AnswerFormat& format, const CallRules& rules, CallGrammar& grammar)
      : format_(format), rules_(rules), names_(tool_names(rules.tools)), grammar_(grammar) {}

  void build() {
    if (names_.empty()) throw Error("there is no tool to call", "tools");
    if (names_.size() > kMostTools)
      throw Error(fmt::format("{} are too many to choose among, {} can be", names_.size(), kMostTools),
                  "tools");
    add();  // the start, which is made last
    if (format_.calls == CallSyntax::deepseek_v32)
      markup();
    else
      json_calls();
    for (Element& e : grammar_.elements_) settle(e);
    find_rests();
  }

 private:
  using Element = CallGrammar::Element;
  using Alternative = CallGrammar::Alternative;
  using Kind = CallGrammar::Kind;

  uint16_t add(Element element = {}) {
    grammar_.elements_.push_back(std::move(element));
    return static_cast<uint16_t>(grammar_.elements_.size() - 1);
  }
  Element& at(uint16_t element) { return grammar_.elements_[element]; }

  Alternative alternative(std::initializer_list<std::string_view> parts, uint16_t next,
                          int parameter = CallGrammar::kNone) {
    Alternative a;
    for (const std::string_view part : parts) append(a, part);
    a.next = next;
    a.parameter = parameter;
    return a;
  }

  void append(Alternative& a, std::string_view part) {
    const Marker marker = format_.marker(part);
    a.text.text += marker.text;
    a.text.added += marker.added;
    for (size_t i = 0; i < marker.added.size(); ++i)
      a.cost.push_back(marker.added[i] != 0 && i > 0 && marker.added[i - 1] != 0 ? 0 : 1);
    const size_t begin = marker.added.find('\1'), end = marker.added.rfind('\1');
    if (begin != std::string::npos) grammar_.markers_.emplace_back(part.substr(begin, end + 1 - begin));
  }

  uint16_t fixed(std::initializer_list<std::string_view> parts, uint16_t next) {
    Element e;
    e.alternatives.push_back(alternative(parts, next));
    return add(std::move(e));
  }

  // ---- arguments as one JSON object

  // What stands before a name and behind it, for the first call and for a further one.
  struct Frame {
    std::vector<std::string_view> first, further, behind_name;
    std::vector<std::string_view> close;  // a call
    std::string_view end;                 // all calls
  };

  Frame frame() const {
    switch (format_.calls) {
      case CallSyntax::deepseek_v3:
        return {{kCallsBegin, kCallBegin, "function", kSep},
                {"\n", kCallBegin, "function", kSep},
                {"\n", kFence, "\n"},
                {"\n", kFenceEnd, kCallEnd},
                kCallsEnd};
      case CallSyntax::deepseek_v31:
        return {{kCallsBegin, kCallBegin}, {kCallBegin}, {kSep}, {kCallEnd}, kCallsEnd};
      case CallSyntax::hermes:
      case CallSyntax::qwen25_coder:
        return {{kToolCall, "\n{\"name\": \""},
                {"\n", kToolCall, "\n{\"name\": \""},
                {"\", \"arguments\": "},
                {"}\n", kToolCallClose},
                ""};
      case CallSyntax::llama3:
      case CallSyntax::llama4:
        return {{"{\"name\": \""}, {"; {\"name\": \""}, {"\", \"parameters\": "}, {"}"}, ""};
      case CallSyntax::none:
      case CallSyntax::deepseek_v32: break;
    }
    throw Error("the model's chat template knows no calls of tools", "tools",
                "tool_choice \"none\", or another --chat-template");
  }

  Alternative open(std::string_view before, const std::vector<std::string_view>& parts,
                   const std::string& name, const Frame& f, uint16_t next) {
    // As the names stand inside of JSON where they do.
    const std::string quoted = to_string(Json(name));
    const bool in_json = parts.back().ends_with('"');
    Alternative a = alternative({before}, next);
    for (const std::string_view part : parts) append(a, part);
    append(a, in_json ? std::string_view(quoted).substr(1, quoted.size() - 2) : std::string_view(name));
    for (const std::string_view part : f.behind_name) append(a, part);
    return a;
  }

  void json_calls() {
    const Frame f = frame();
    const uint16_t object = add(), close = add(), after = add();
    at(object).kind = Kind::object;
    at(object).next = close;
    Alternative closing = alternative({}, after);
    for (const std::string_view part : f.close) append(closing, part);
    at(close).alternatives.push_back(std::move(closing));
    at(after).may_end = f.end.empty();
    if (!f.end.empty()) {
      const uint16_t end = add();
      at(end).may_end = true;
      at(after).alternatives.push_back(alternative({f.end}, end));
    }
    if (rules_.several)
      for (const std::string& name : names_)
        at(after).alternatives.push_back(open("", f.further, name, f, object));
    begin([&](std::string_view before, std::vector<Alternative>& to) {
      for (const std::string& name : names_) to.push_back(open(before, f.first, name, f, object));
    });
  }

  // The start: the calls, and reasoning before them where there can be some.
  template <typename Open>
  void begin(Open open) {
    std::vector<Alternative> calls;
    open("", calls);
    const bool opens = !rules_.in_reasoning && format_.thinks &&
                       (format_.calls == CallSyntax::hermes || format_.calls == CallSyntax::deepseek_v3);
    if (!opens && !rules_.in_reasoning) {
      at(0).alternatives = std::move(calls);
      return;
    }
    Element behind;
    behind.alternatives = calls;
    if (format_.calls != CallSyntax::deepseek_v32) open("\n\n", behind.alternatives);
    Element reasoning;
    reasoning.kind = Kind::reasoning;
    reasoning.until = alternative({kThinkClose}, add(std::move(behind)));
    if (rules_.in_reasoning) {
      at(0) = std::move(reasoning);
      return;
    }
    calls.push_back(alternative({kThinkOpen}, add(std::move(reasoning))));
    at(0).alternatives = std::move(calls);
  }

  // ---- DeepSeek-V3.2's markup: each parameter at most once, and as text or JSON as its schema says

  void markup() {
    const uint16_t after = add(), end = add();
    at(end).may_end = true;
    std::vector<uint16_t> parameters;
    for (const Json& tool : rules_.tools.as_array()) parameters.push_back(parameters_of(tool, after));
    const auto invoke = [&](std::string_view before, std::vector<Alternative>& to) {
      for (size_t i = 0; i < names_.size(); ++i)
        to.push_back(alternative({fmt::format("{}{} name=\"{}\">\n", before, kInvoke, names_[i])},
                                 parameters[i], CallGrammar::kFirst));
    };
    at(after).alternatives.push_back(alternative({kBlockClose}, end));
    if (rules_.several) invoke("", at(after).alternatives);
    begin([&](std::string_view, std::vector<Alternative>& to) {
      invoke(fmt::format("{}>\n", kBlockOpen), to);
    });
  }

  uint16_t parameters_of(const Json& tool, uint16_t after) {
    const uint16_t choice = add();
    Element text, value;
    text.kind = Kind::free_text;
    text.until = alternative({kParameterClose}, fixed({">\n"}, choice));
    value.kind = Kind::value;
    value.next = fixed({fmt::format("{}>\n", kParameterClose)}, choice);
    const uint16_t as_text = add(std::move(text)), as_json = add(std::move(value));
    std::vector<Alternative> alternatives{alternative({fmt::format("{}>\n", kInvokeClose)}, after)};
    const Json* schema = tool.at("function").find("parameters");
    const Json* properties = schema ? schema->find("properties") : nullptr;
    const JsonObject none;
    int number = 0;
    for (const auto& [key, property] :
         properties && properties->is_object() ? properties->as_object() : none) {
      if (number == 64 || key.find_first_of("\"<\n") != key.npos) continue;
      const Json* type = property.find("type");
      const bool known = type && type->is_string(), is_text = known && type->as_string() == "string";
      const auto give = [&](const char* flag, uint16_t next) {
        alternatives.push_back(
            alternative({fmt::format("{} name=\"{}\" string=\"{}\">", kParameter, key, flag)}, next, number));
      };
      if (!known || is_text) give("true", as_text);
      if (!known || !is_text) give("false", as_json);
      ++number;
    }
    at(choice).alternatives = std::move(alternatives);
    return choice;
  }

  // ---- what is computed from the rest

  // From what each byte costs to what all from it on do.
  static void sum_costs(Alternative& a) {
    a.cost.push_back(0);
    for (size_t i = a.cost.size() - 1; i-- > 0;) a.cost[i] += a.cost[i + 1];
  }

  void settle(Element& e) {
    for (const Alternative& a : e.alternatives)
      if (a.text.text.size() > kLongest) throw Error("the name of a tool or parameter is too long", "tools");
    std::ranges::sort(e.alternatives, {},
                      [](const Alternative& a) -> const std::string& { return a.text.text; });
    const auto same = [](const Alternative& a, const Alternative& b) { return a.text.text == b.text.text; };
    const auto repeated = std::ranges::unique(e.alternatives, same);
    e.alternatives.erase(repeated.begin(), repeated.end());
    for (Alternative& a : e.alternatives) sum_costs(a);
    sum_costs(e.until);
    const Marker& until = e.until.text;
    e.fallback.assign(until.text.size() + 1, 0);
    for (size_t i = 1, k = 0; i < until.text.size(); ++i) {
      const auto fits = [&] { return until.text[i] == until.text[k] && until.added[i] == until.added[k]; };
      while (k > 0 && !fits()) k = e.fallback[k];
      if (fits()) ++k;
      e.fallback[i + 1] = static_cast<uint16_t>(k);
    }
  }

  int rest_of(const Element& e) const {
    const auto to_end = [&](const Alternative& a) {
      return a.cost.front() + grammar_.elements_[a.next].rest;
    };
    if (e.may_end) return 0;
    switch (e.kind) {
      case Kind::object: return 2 + grammar_.elements_[e.next].rest;
      case Kind::value: return 1 + grammar_.elements_[e.next].rest;
      case Kind::reasoning:
      case Kind::free_text: return to_end(e.until);
      case Kind::choice: break;
    }
    int rest = e.rest;
    for (const Alternative& a : e.alternatives) rest = std::min(rest, to_end(a));
    return rest;
  }

  void find_rests() {
    for (Element& e : grammar_.elements_) e.rest = 1 << 24;
    for (bool changed = true; changed;) {
      changed = false;
      for (Element& e : grammar_.elements_) {
        const int rest = rest_of(e);
        changed |= rest < e.rest;
        e.rest = std::min(e.rest, rest);
      }
    }
  }

  const AnswerFormat& format_;
  const CallRules& rules_;
  std::vector<std::string> names_;
  CallGrammar& grammar_;
};

CallGrammar::CallGrammar(const AnswerFormat& format, const CallRules& rules) {
  CallGrammarBuilder(format, rules, *this).build();
}

}  // namespace minke

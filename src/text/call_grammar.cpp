#include "text/call_grammar.h"

#include <algorithm>

#include "text/answer_machine.h"

namespace minke {
namespace {

// Models left to themselves can write white space for ever.
constexpr int kMostSpaces = 32;

}  // namespace

void CallGrammar::enter(State& state, uint16_t element) const {
  const Element& e = elements_[element];
  state.element = element;
  state.position = state.first = 0;
  state.last = static_cast<uint16_t>(e.alternatives.size());
  state.spaces = 0;
  if (e.kind == Kind::object) state.json = JsonChecker(true);
  if (e.kind == Kind::value) state.json = JsonChecker(false, JsonChecker::kMaxDepth - 1);
}

CallGrammar::State CallGrammar::start() const {
  State state;
  enter(state, 0);
  return state;
}

bool CallGrammar::step(State& state, char c, bool added) const {
  switch (elements_[state.element].kind) {
    case Kind::choice: return step_choice(state, c, added);
    case Kind::object:
    case Kind::value: return added ? false : step_json(state, c);
    case Kind::reasoning:
    case Kind::free_text: return step_free(state, c, added);
  }
  return false;
}

// The alternatives are sorted: those that begin with what was read are neighbours.
bool CallGrammar::step_choice(State& state, char c, bool added) const {
  const Element& e = elements_[state.element];
  const auto fits = [&](const Alternative& a) {
    return a.text.text[state.position] == c && (a.text.added[state.position] != 0) == added &&
           usable(state, a);
  };
  while (state.first < state.last && !fits(e.alternatives[state.first])) ++state.first;
  while (state.first < state.last && !fits(e.alternatives[state.last - 1u])) --state.last;
  if (state.first == state.last) return false;
  ++state.position;
  const Alternative& a = e.alternatives[state.first];
  if (state.position < a.text.text.size()) return true;
  if (a.parameter == kFirst) state.used = 0;
  if (a.parameter >= 0) state.used |= uint64_t{1} << a.parameter;
  enter(state, a.next);
  return true;
}

bool CallGrammar::step_json(State& state, char c) const {
  const uint16_t next = elements_[state.element].next;
  JsonChecker json = state.json;
  if (!json.step(c)) {
    if (!state.json.complete()) return false;
    enter(state, next);  // what ends a number stands behind it
    return step(state, c, false);
  }
  if (!json.in_string() && is_json_space(c)) {
    if (++state.spaces > kMostSpaces) return false;
  } else {
    state.spaces = 0;
  }
  state.json = json;
  if (json.complete() && !json.may_grow()) enter(state, next);
  return true;
}

bool CallGrammar::step_free(State& state, char c, bool added) const {
  const Element& e = elements_[state.element];
  const Marker& until = e.until.text;
  while (until.text[state.position] != c || (until.added[state.position] != 0) != added) {
    if (state.position == 0) return true;
    state.position = e.fallback[state.position];
  }
  if (++state.position == until.text.size()) enter(state, e.until.next);
  return true;
}

bool CallGrammar::done(const State& state) const {
  return elements_[state.element].may_end && state.position == 0;
}

int CallGrammar::least(const State& state) const {
  if (done(state)) return 0;
  const Element& e = elements_[state.element];
  const auto to_end = [&](const Alternative& a) { return a.cost[state.position] + elements_[a.next].rest; };
  switch (e.kind) {
    case Kind::object:
    case Kind::value: return state.json.least() + elements_[e.next].rest;
    case Kind::reasoning:
    case Kind::free_text: return to_end(e.until);
    case Kind::choice: break;
  }
  int least = e.rest;
  bool any = false;
  for (int i = state.first; i < state.last; ++i) {
    const Alternative& a = e.alternatives[static_cast<size_t>(i)];
    if (!usable(state, a)) continue;
    least = any ? std::min(least, to_end(a)) : to_end(a);
    any = true;
  }
  return least;
}

CallGrammar::Plain CallGrammar::plain(const State& state) const {
  switch (elements_[state.element].kind) {
    case Kind::object:
    case Kind::value: return state.json.in_plain_string() ? Plain::in_json_string : Plain::none;
    case Kind::reasoning:
    case Kind::free_text: return state.position == 0 ? Plain::in_free_text : Plain::none;
    case Kind::choice: return Plain::none;
  }
  return Plain::none;
}

bool CallGrammar::in_reasoning(const State& state) const {
  return elements_[state.element].kind == Kind::reasoning;
}

}  // namespace minke

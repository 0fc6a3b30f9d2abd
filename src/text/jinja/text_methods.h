#pragma once
// Methods of Python's str, on marked text: every character keeps its mark.

#include "text/jinja/runtime.h"

namespace minke::jinja {

// Null where str has no such method, or none that makes sense in a template (encode, translate).
using TextMethod = Value (*)(Runtime&, const Text& self, const Arguments&);
TextMethod find_text_method(std::string_view name);

// --- Shared with the filters of the same names.

Text strip(const Text& text, const Text* characters, bool left,
           bool right);  // white space where there are none
Text replace(Runtime& runtime, const Text& text, const Text& from, const Text& to, int64_t count);  // -1: all
std::vector<Text> split_lines(Runtime& runtime, const Text& text, bool keep_ends);
std::vector<Text> split_from_right(Runtime& runtime, const Text& text, std::string_view separator,
                                   int64_t most);
Text centered(Runtime& runtime, const Text& text, int64_t width);

// f over each run of one mark, for functions that look at one character at a time.
template <typename F>
Text map_runs(const Text& text, F f) {
  Text out;
  text.each_run([&](std::string_view run, bool given) { out.append(f(run), given); });
  return out;
}

}  // namespace minke::jinja

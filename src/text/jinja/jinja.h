#pragma once
// Chat templates: the Jinja of jinja2 3.1 as transformers runs it (trim_blocks, lstrip_blocks, no autoescape,
// sandboxed, loop controls, {% generation %}, raise_exception, strftime_now, tojson that escapes no HTML), on
// strings whose characters remember whether the template wrote them or they were given (DESIGN.md, Text).
//
// What Jinja has and this has not: other templates (include, import, extends, block), autoescape, and the
// filters filesizeformat, pprint, random, urlencode, urlize, wordwrap, xmlattr; cycler, joiner, lipsum. Ints
// end at 128 bits.

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/jinja/meter.h"
#include "text/token.h"

namespace minke::jinja {

struct Ast;

struct RenderOptions {
  std::optional<std::tm> now;  // what strftime_now tells; without it a template that asks fails
  Limits limits;
  // Variables whose strings are the template's own; all others are given.
  std::vector<std::string_view> own = {"bos_token", "eos_token", "pad_token"};
};

// Immutable; any thread may render.
class Template {
 public:
  // `name` is what errors call it. Throws Error naming it and the line.
  static Template parse(std::string_view source, std::string name = "chat template");

  // `context` is an object: the template's variables. Neighbouring pieces differ in their mark, and none is
  // empty. Throws Error with name and line: what the template raises, what Python would, and what passes the
  // limits. `generated` becomes the parts of the text inside of {% generation %}, in order.
  Pieces render(const Json& context, const RenderOptions& options,
                std::vector<TextRun>* generated = nullptr) const;

 private:
  Template() = default;
  std::shared_ptr<const Ast> ast_;
  std::string name_;
};

}  // namespace minke::jinja

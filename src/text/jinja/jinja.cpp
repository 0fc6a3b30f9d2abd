#include "text/jinja/jinja.h"

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/interpreter.h"

namespace minke::jinja {
namespace {

// A value for every name the template mentions.
std::vector<Value> make_context(Runtime& runtime, const Ast& ast, const Json& context,
                                const RenderOptions& options) {
  std::vector<Value> values;
  values.reserve(ast.names.size());
  for (const std::string& name : ast.names) {
    const Json* variable = context.find(name);
    const bool own = std::find(options.own.begin(), options.own.end(), name) != options.own.end();
    if (variable)
      values.push_back(runtime.from_json(*variable, !own));
    else if (const Function* function = find_function(name))
      values.push_back(Value(function));
    else
      values.push_back(Value::undefined(fmt::format("'{}' is undefined", name)));
  }
  return values;
}

}  // namespace

Template Template::parse(std::string_view source, std::string name) {
  Template result;
  result.name_ = std::move(name);
  try {
    result.ast_ = std::make_shared<const Ast>(jinja::parse(source));
  } catch (const Error& e) {
    throw e.within(result.name_);
  }
  return result;
}

Pieces Template::render(const Json& context, const RenderOptions& options,
                        std::vector<TextRun>* generated) const {
  Runtime runtime(options.limits, options.now);
  try {
    Interpreter interpreter(*ast_, runtime, make_context(runtime, *ast_, context, options));
    Pieces pieces = to_pieces(interpreter.run());
    if (generated) *generated = interpreter.generated();
    return pieces;
  } catch (const Error& e) {
    const std::string place = runtime.line > 0 ? fmt::format("{}: line {}", name_, runtime.line) : name_;
    throw e.within(place);
  }
}

}  // namespace minke::jinja

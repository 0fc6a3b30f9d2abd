#include "text/python_json.h"

#include <limits>

#include "text/jinja/runtime.h"

namespace minke {

std::string python_json(const Json& json) {
  constexpr jinja::Limits kNone{std::numeric_limits<uint64_t>::max(), std::numeric_limits<size_t>::max(),
                                jinja::Limits{}.depth};
  jinja::Runtime runtime(kNone, {});
  return std::string(jinja::to_json(runtime, runtime.from_json(json), {}).view());
}

}  // namespace minke

#pragma once
// JSON as Python's json.dumps(ensure_ascii=False) writes it, which is what models were trained on: ", " and
// ": ", numbers as Python prints them.

#include <string>

#include "base/json.h"

namespace minke {

std::string python_json(const Json& json);

}  // namespace minke

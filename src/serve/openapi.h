#pragma once
// The routes described in OpenAPI 3.1.

#include "base/json.h"
#include "serve/router.h"

namespace minke {

Json openapi_document(const Router& router);

}  // namespace minke

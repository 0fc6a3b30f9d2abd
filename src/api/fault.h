#pragma once
// What went wrong with a request, before a dialect gives it its own shape.

#include <cstdint>
#include <string>

#include "base/error.h"

namespace minke {

struct Fault {
  enum class Kind : uint8_t {
    invalid,         // 400: the request cannot be meant so
    authentication,  // 401
    permission,      // 403
    not_found,       // 404
    method,          // 405
    too_large,       // 413
    busy,            // 429: come back later
    internal,        // 500
    unsupported,     // 501: Minke has no such thing
    unavailable,     // 503: loading, or ending
  };
  Kind kind = Kind::internal;
  std::string message;
  std::string field = {};  // of the request: "messages[3].content"
  std::string code = {};   // OpenAI's, where it has one: "model_not_found"
};

int http_status(Fault::Kind kind);
Fault::Kind kind_of_status(int status);  // the nearest
// What an Error about a request is to its client: invalid, the field being its subject.
Fault invalid(const Error& error);

}  // namespace minke

#include "api/fault.h"

namespace minke {
namespace {

struct Row {
  Fault::Kind kind;
  int status;
};
constexpr Row kRows[] = {
    {Fault::Kind::invalid, 400},     {Fault::Kind::authentication, 401}, {Fault::Kind::permission, 403},
    {Fault::Kind::not_found, 404},   {Fault::Kind::method, 405},         {Fault::Kind::too_large, 413},
    {Fault::Kind::busy, 429},        {Fault::Kind::internal, 500},       {Fault::Kind::unsupported, 501},
    {Fault::Kind::unavailable, 503},
};

}  // namespace

int http_status(Fault::Kind kind) {
  for (const Row& row : kRows)
    if (row.kind == kind) return row.status;
  return 500;
}

Fault::Kind kind_of_status(int status) {
  for (const Row& row : kRows)
    if (row.status == status) return row.kind;
  return status >= 500 ? Fault::Kind::internal : Fault::Kind::invalid;
}

Fault invalid(const Error& error) { return {Fault::Kind::invalid, error.what(), error.subject()}; }

}  // namespace minke

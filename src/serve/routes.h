#pragma once
// The routes, by subject. Files of a web page would be one more.

#include <memory>

namespace minke {

class Router;
class Visit;
struct Exchange;

void add_completion_routes(Router& router);  // chat, completions, messages
void add_response_routes(Router& router);    // /v1/responses
void add_model_routes(Router& router);       // /health, /metrics, /v1/models, /tokenize, ...

}  // namespace minke

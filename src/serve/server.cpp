#include "serve/server.h"

#include <spdlog/spdlog.h>

#include "base/error.h"
#include "serve/routes.h"
#include "serve/visit.h"

namespace minke {
namespace {

constexpr const char* kAllowedHeaders =
    "authorization, content-type, x-api-key, anthropic-version, anthropic-beta, "
    "x-request-id";

bool is_preflight(const ServerRequest& request) {
  return request.method == "OPTIONS" && request.header("Access-Control-Request-Method");
}

ServerResponse preflight(const ServeState& state, const ServerRequest& request) {
  ServerResponse response;
  response.status = 204;
  response.headers = common_headers(state, request, request_id(request));
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, DELETE");
  response.headers.emplace_back("Access-Control-Allow-Headers", kAllowedHeaders);
  response.headers.emplace_back("Access-Control-Max-Age", "600");
  return response;
}

void log_refusal(const ServeState& state, const ServerRequest& request, const std::string& id,
                 const ServerResponse& response, const std::string& why) {
  if (state.options.log)
    state.options.log->warn("{} {} - {} {} refused: {}", id, request.peer, printable(request.method, 20),
                            response.status, why);
}

// Before the body is read.
std::optional<ServerResponse> admit(ServeState& state, const ServerRequest& request) {
  const Router::Match match = state.router.find(request.method, request.path);
  std::optional<ApiKey> key;
  const bool open = (match.route && match.route->open) || is_preflight(request);
  const auto fault = refused(request, state.options.access, state.keys, open, key);
  if (!fault) return std::nullopt;
  const std::string id = request_id(request);
  ServerResponse response = fault_response(state, request, id, *fault);
  state.metrics.responded("refused", response.status);
  log_refusal(state, request, id, response, fault->message);
  return response;
}

void handle(const std::shared_ptr<ServeState>& state, const ServerRequest& request,
            const std::shared_ptr<ServerReply>& reply) {
  if (is_preflight(request)) return reply->send(preflight(*state, request));
  const Router::Match match = state->router.find(request.method, request.path);
  std::optional<ApiKey> key;
  if (state->keys.asks()) key = state->keys.find(given_key(request));
  const auto visit =
      std::make_shared<Visit>(state, request, reply, match.route ? match.route->path : "unknown", key);
  try {
    if (match.route) return match.route->handle(visit, match.values);
    if (match.allowed.empty())
      return visit->send(Fault{Fault::Kind::not_found, "there is no such route; /openapi.json lists them"});
    visit->send(Fault{Fault::Kind::method, "this route takes " + match.allowed});
  } catch (const Error& e) {
    visit->send(invalid(e));
  } catch (const std::bad_alloc&) {
    visit->send(Fault{Fault::Kind::internal, "out of memory"});
  } catch (const std::exception& e) {
    visit->send(Fault{Fault::Kind::internal, e.what()});
  }
}

}  // namespace

Server::Server(ServeOptions options) : state_(std::make_shared<ServeState>(std::move(options))) {
  add_completion_routes(state_->router);
  add_response_routes(state_->router);
  add_model_routes(state_->router);
  HttpServerOptions http;
  http.listen = state_->options.listen;
  http.limits = state_->options.limits;
  http.admit = [state = state_](const ServerRequest& head) { return admit(*state, head); };
  http.handle = [state = state_](const ServerRequest& request, std::shared_ptr<ServerReply> reply) {
    handle(state, request, reply);
  };
  http.fault = [state = state_](int status, const std::string& what, const ServerRequest& head) {
    const std::string id = request_id(head);
    ServerResponse response = fault_response(*state, head, id, {kind_of_status(status), what});
    response.status = status;
    state->metrics.responded("refused", status);
    log_refusal(*state, head, id, response, what);
    return response;
  };
  http_ = std::make_unique<HttpServer>(std::move(http));
}

Server::~Server() = default;

uint16_t Server::port() const { return http_ ? http_->port() : 0; }
const Router& Server::router() const { return state_->router; }

void Server::ready(std::shared_ptr<Completer> completer, std::function<EngineStats()> stats) {
  state_->set_completer(std::move(completer), std::move(stats));
}

void Server::reload_keys() { state_->keys.reload(); }
bool Server::drain(std::chrono::milliseconds longest) { return !http_ || http_->drain(longest); }

void Server::stop() {
  http_.reset();
  state_->set_completer(nullptr, nullptr);
}

}  // namespace minke

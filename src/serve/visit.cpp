#include "serve/visit.h"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "api/anthropic.h"
#include "api/openai.h"
#include "serve/state.h"

namespace minke {
namespace {

constexpr std::chrono::seconds kSilence{10};
constexpr size_t kMostDepth = 128;

bool is_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  });
}

ServerRequest head_of(const ServerRequest& request) {
  ServerRequest head;
  head.number = request.number;
  head.method = request.method;
  head.path = request.path;
  head.headers = request.headers;
  head.peer = request.peer;
  head.tls = request.tls;
  return head;
}

bool is_anthropic(std::string_view path) { return path.starts_with("/v1/messages"); }

}  // namespace

std::string request_id(const ServerRequest& request) {
  const std::string* given = request.header("x-request-id");
  return given && is_id(*given) ? *given : new_id("req_");
}

HttpHeaders common_headers(const ServeState& state, const ServerRequest& request, const std::string& id) {
  HttpHeaders headers{{"x-request-id", id}};
  if (is_anthropic(request.path)) headers.emplace_back("request-id", id);
  if (origin_kind(request, state.options.access.origins) == OriginKind::allowed) {
    headers.emplace_back("Access-Control-Allow-Origin", *request.header("Origin"));
    headers.emplace_back("Access-Control-Expose-Headers", "x-request-id");
  }
  if (!state.options.access.origins.empty()) headers.emplace_back("Vary", "Origin");
  return headers;
}

ServerResponse fault_response(const ServeState& state, const ServerRequest& request, const std::string& id,
                              const Fault& fault) {
  ServerResponse response;
  response.status = http_status(fault.kind);
  response.headers = common_headers(state, request, id);
  response.headers.emplace_back("Content-Type", "application/json");
  if (fault.kind == Fault::Kind::busy || fault.kind == Fault::Kind::unavailable)
    response.headers.emplace_back("Retry-After", "2");
  if (fault.kind == Fault::Kind::authentication) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  response.body = to_string(is_anthropic(request.path) ? anthropic_fault(fault, id) : openai_fault(fault));
  return response;
}

Visit::Visit(std::shared_ptr<ServeState> state, const ServerRequest& request,
             std::shared_ptr<ServerReply> reply, std::string route, std::optional<ApiKey> key)
    : state_(std::move(state)),
      request_(&request),
      head_(head_of(request)),
      reply_(std::move(reply)),
      id_(request_id(request)),
      route_(std::move(route)),
      key_(std::move(key)) {}

Visit::~Visit() { log(reply_->gone() ? 499 : 500); }

Json Visit::body() const {
  JsonLimits limits;
  limits.max_depth = kMostDepth;
  return parse_json(request_->body, limits);
}

void Visit::send(const Json& json, int status) { send_text(to_string(json), "application/json", status); }

void Visit::send_text(std::string text, std::string type, int status) {
  log(status);
  ServerResponse response{status, common_headers(*state_, head_, id_), std::move(text)};
  response.headers.emplace_back("Content-Type", std::move(type));
  respond(std::move(response));
}

void Visit::send(const Fault& fault) {
  note(fault.kind == Fault::Kind::internal ? "error: " + fault.message : std::string());
  ServerResponse response = fault_response(*state_, head_, id_, fault);
  log(response.status);
  respond(std::move(response));
}

// What goes wrong behind the headers of a stream can only cut it off.
void Visit::respond(ServerResponse response) {
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(started_, true)) return reply_->send(std::move(response));
  }
  reply_->abort();
}

void Visit::start_events() {
  HttpHeaders headers = common_headers(*state_, head_, id_);
  headers.emplace_back("Content-Type", "text/event-stream");
  headers.emplace_back("Cache-Control", "no-cache");
  headers.emplace_back("X-Accel-Buffering", "no");
  const std::lock_guard lock(mutex_);
  started_ = true;
  reply_->start(200, std::move(headers));
  // Comments are nothing to some of Anthropic's clients, which take silence for the end.
  reply_->keep_awake(is_anthropic(head_.path) ? "event: ping\ndata: {\"type\":\"ping\"}\n\n" : ": \n\n",
                     kSilence);
}

void Visit::write(std::string_view events) {
  if (!events.empty()) reply_->write(events);
}

void Visit::finish() {
  log(reply_->gone() ? 499 : 200);
  reply_->finish();
}

void Visit::note(std::string text) {
  const std::lock_guard lock(mutex_);
  if (!text.empty()) note_ = std::move(text);
}

void Visit::log(int status) {
  const std::lock_guard lock(mutex_);
  if (std::exchange(logged_, true)) return;
  state_->metrics.responded(route_, status);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun_;
  if (state_->options.log)
    state_->options.log->info("{} {} {} {} {} {} {:.3f} s{}{}", id_, head_.peer, key_ ? key_->name : "-",
                              head_.method, route_, status, took.count(), note_.empty() ? "" : " ", note_);
}

}  // namespace minke

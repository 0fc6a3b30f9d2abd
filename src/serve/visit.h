#pragma once
// One request to the server and its reply: ids, headers, the log's line and faults in the dialect of the
// path.

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "api/fault.h"
#include "base/json.h"
#include "net/http_server.h"
#include "serve/keys.h"

namespace minke {

struct ServeState;

// The id of a request: its own x-request-id where that is fit to be shown, else a new one.
std::string request_id(const ServerRequest& request);
// Headers of every response: the request's id, what is said to browsers of other origins.
HttpHeaders common_headers(const ServeState& state, const ServerRequest& request, const std::string& id);
// A fault as the path's dialect puts it.
ServerResponse fault_response(const ServeState& state, const ServerRequest& request, const std::string& id,
                              const Fault& fault);

class Visit : public std::enable_shared_from_this<Visit> {
 public:
  Visit(std::shared_ptr<ServeState> state, const ServerRequest& request, std::shared_ptr<ServerReply> reply,
        std::string route, std::optional<ApiKey> key);
  ~Visit();

  ServeState& state() const { return *state_; }
  const std::shared_ptr<ServeState>& shared_state() const { return state_; }
  // Only while the handler runs.
  const ServerRequest& request() const { return *request_; }
  const std::string& path() const { return head_.path; }
  const std::string& id() const { return id_; }
  const std::optional<ApiKey>& key() const { return key_; }
  std::string owner() const { return key_ ? key_->name : std::string(); }
  ServerReply& reply() const { return *reply_; }
  std::chrono::steady_clock::time_point begun() const { return begun_; }

  // The body as JSON. Throws Error.
  Json body() const;

  void send(const Json& json, int status = 200);
  void send_text(std::string text, std::string type, int status = 200);
  void send(const Fault& fault);
  // Server-sent events: headers go out at once; a comment follows whenever nothing was for 10 s.
  void start_events();
  void write(std::string_view events);
  void finish();
  void note(std::string text);  // for the log: numbers of tokens and the like, never a prompt

 private:
  void log(int status);

  const std::shared_ptr<ServeState> state_;
  const ServerRequest* request_;
  ServerRequest head_;  // without its body
  const std::shared_ptr<ServerReply> reply_;
  const std::string id_, route_;
  const std::optional<ApiKey> key_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();

  void respond(ServerResponse response);

  std::mutex mutex_;
  bool logged_ = false, started_ = false;
  std::string note_;
};

}  // namespace minke

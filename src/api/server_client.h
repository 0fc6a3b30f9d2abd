#pragma once
// Another server, asked in OpenAI's dialect: any that speaks it.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "api/completion.h"
#include "base/json.h"
#include "net/http_client.h"

namespace minke {

struct ServerAddress {
  std::string url;  // "http://127.0.0.1:6710", with or without /v1
  std::string key;  // empty: none is sent
};

struct ServerAnswer {
  std::string reasoning, content;
  JsonArray calls;                            // as OpenAI has them
  std::string reason;                         // "stop", "length", "tool_calls"; empty where it was cancelled
  Usage usage;                                // all zero where the server does not tell
  double first_seconds = 0, all_seconds = 0;  // to the first part, to the end
};

class ServerClient {
 public:
  // Throws Error where the address is no URL of a server.
  ServerClient(ServerAddress address, HttpOptions options);

  struct Show {
    std::function<void(std::string_view)> reasoning, content;  // as they come
    std::function<bool()> stop;                                // asked meanwhile: true cancels
  };

  // All throw Error: the server's own message, or that it is not reached.
  std::vector<std::string> models() const;
  // One choice of a conversation (`body` as /v1/chat/completions takes it), or of a text (`prompt` in it).
  ServerAnswer answer(Json body, const Show& show) const;

  const std::string& url() const { return url_; }

 private:
  HttpRequest request(const std::string& path) const;

  std::string url_, key_;
  HttpClient http_;
};

}  // namespace minke

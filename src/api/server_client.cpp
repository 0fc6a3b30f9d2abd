#include "api/server_client.h"

#include <chrono>

#include "base/error.h"
#include "net/sse.h"
#include "net/url.h"

namespace minke {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMostBody = uint64_t{1} << 30;
constexpr std::chrono::minutes kSilence{10};  // a long prompt, on a server that sends no comments meanwhile

// The server's own words, where its fault has the shape that OpenAI's have.
Error server_error(const HttpResponse& response, const std::string& url) {
  std::string help;
  if (response.status == 401) help = "--api-key or MINKE_API_KEY gives a key";
  if (response.failure == HttpFailure::connect) help = "is `minke serve` running there?";
  try {
    const Json json = parse_json(response.body);
    if (const Json* error = json.find("error"); error && error->find("message"))
      return Error(error->at("message").as_string(), url, help);
  } catch (const Error&) {
    // Some other server's page.
  }
  const Error error = http_error(response);
  return help.empty() ? error : Error(error.happened(), error.subject(), help);
}

const Json* member(const Json& json, std::string_view name) {
  const Json* found = json.find(name);
  return found && !found->is_null() ? found : nullptr;
}

std::string text_of(const Json& json, std::string_view name) {
  const Json* found = member(json, name);
  return found && found->is_string() ? found->as_string() : std::string();
}

int count_of(const Json& json, std::string_view name) {
  const Json* found = member(json, name);
  return found && found->is_int() ? static_cast<int>(std::clamp<int64_t>(found->as_int(), 0, INT32_MAX)) : 0;
}

// The chunks of a stream, put together.
class Assembly {
 public:
  explicit Assembly(const ServerClient::Show& show) : show_(show) {}

  void take(const ServerSentEvent& event) {
    if (event.data == "[DONE]") return;
    const Json chunk = parse_json(event.data);
    if (const Json* error = member(chunk, "error")) throw Error(text_of(*error, "message"), "the server");
    if (const Json* usage = member(chunk, "usage")) take_usage(*usage);
    const Json* choices = member(chunk, "choices");
    if (!choices || choices->as_array().empty()) return;
    const Json& choice = choices->as_array().front();
    if (std::string reason = text_of(choice, "finish_reason"); !reason.empty())
      made.reason = std::move(reason);
    give(text_of(choice, "text"), made.content, show_.content);
    const Json* delta = member(choice, "delta");
    if (!delta) return;
    give(text_of(*delta, "reasoning_content"), made.reasoning, show_.reasoning);
    give(text_of(*delta, "content"), made.content, show_.content);
    if (const Json* calls = member(*delta, "tool_calls"))
      for (const Json& call : calls->as_array()) take_call(call);
  }

  ServerAnswer made;

 private:
  void give(const std::string& text, std::string& all, const std::function<void(std::string_view)>& show) {
    if (text.empty()) return;
    begin();
    all += text;
    if (show) show(text);
  }

  void begin() {
    if (made.first_seconds == 0)
      made.first_seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  }

  void take_call(const Json& part) {
    begin();
    const auto index = static_cast<size_t>(count_of(part, "index"));
    if (index > made.calls.size()) throw Error("calls that do not follow each other", "the server's stream");
    if (index == made.calls.size())
      made.calls.push_back(JsonObject{
          {"id", ""}, {"type", "function"}, {"function", JsonObject{{"name", ""}, {"arguments", ""}}}});
    Json& call = made.calls[index];
    if (std::string id = text_of(part, "id"); !id.empty()) call.set("id", std::move(id));
    const Json* function = member(part, "function");
    if (!function) return;
    for (const char* name : {"name", "arguments"}) {
      Json& text = *call.find("function")->find(name);
      text = text.as_string() + text_of(*function, name);
    }
  }

  void take_usage(const Json& usage) {
    made.usage.prompt_tokens = count_of(usage, "prompt_tokens");
    made.usage.output_tokens = count_of(usage, "completion_tokens");
    if (const Json* details = member(usage, "prompt_tokens_details"))
      made.usage.cached_tokens = count_of(*details, "cached_tokens");
  }

  const ServerClient::Show& show_;
  const Clock::time_point start_ = Clock::now();
};

}  // namespace

ServerClient::ServerClient(ServerAddress address, HttpOptions options)
    : url_(std::move(address.url)), key_(std::move(address.key)), http_(std::move(options)) {
  if (url_.find("://") == url_.npos) url_ = "http://" + url_;
  while (url_.ends_with('/')) url_.pop_back();
  if (url_.ends_with("/v1")) url_.resize(url_.size() - 3);
  parse_url(url_);
}

HttpRequest ServerClient::request(const std::string& path) const {
  HttpRequest request;
  request.url = url_ + path;
  if (!key_.empty()) request.headers.emplace_back("Authorization", "Bearer " + key_);
  request.timeouts.idle = kSilence;
  request.max_body = kMostBody;
  return request;
}

std::vector<std::string> ServerClient::models() const {
  const HttpResponse response = http_.request(request("/v1/models"));
  if (!response.ok()) throw server_error(response, url_);
  std::vector<std::string> names;
  const Json json = parse_json(response.body);
  for (const Json& model : json.at("data").as_array()) names.push_back(model.at("id").as_string());
  if (names.empty()) throw Error("it serves no model", url_);
  return names;
}

ServerAnswer ServerClient::answer(Json body, const Show& show) const {
  body.set("stream", true);
  body.set("stream_options", JsonObject{{"include_usage", true}});
  HttpRequest asked = request(body.find("prompt") ? "/v1/completions" : "/v1/chat/completions");
  asked.method = "POST";
  asked.headers.emplace_back("Content-Type", "application/json");
  asked.body = to_string(body);
  asked.canceled = show.stop;
  Assembly assembly(show);
  SseReader reader([&](const ServerSentEvent& event) { assembly.take(event); });
  asked.on_body = [&](const HttpResponse&, Bytes bytes) { reader.feed(as_text(bytes)); };
  const auto start = Clock::now();
  const HttpResponse response = http_.request(asked);
  assembly.made.all_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (response.failure == HttpFailure::canceled) {
    assembly.made.reason.clear();
    return std::move(assembly.made);
  }
  if (!response.ok()) throw server_error(response, url_);
  if (assembly.made.reason.empty()) throw Error("the answer broke off", url_);
  return std::move(assembly.made);
}

}  // namespace minke

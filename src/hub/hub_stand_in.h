#pragma once
// For tests: a model hub and its CDN on two loopback ports, with one repository. Large files (.gguf,
// .safetensors) are sent on to the CDN, as the hub does. A test may answer any request itself, to show what a
// bad day looks like.

#include <charconv>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/json.h"
#include "hub/digest.h"
#include "hub/hub_client.h"
#include "net/http_stand_in.h"
#include "net/url.h"

namespace minke {

inline std::string digest_of(DigestKind kind, std::string_view content) {
  Digest digest(kind, content.size());
  digest.add(as_bytes(content));
  return digest.hex();
}

class HubStandIn {
 public:
  using Request = HttpStandIn::Request;
  using Peer = HttpStandIn::Peer;
  // Returns whether it answered.
  using Intercept = std::function<bool(const Request&, Peer&)>;

  std::string repo = "org/name";
  std::string commit = std::string(39, 'a') + "1";
  std::map<std::string, std::string> files;
  std::string token;   // required where not empty
  size_t page = 1000;  // entries of the tree at once
  bool has_tree = true;
  Intercept at_hub, at_cdn;

 private:
  HttpStandIn cdn_{[this](const Request& request, Peer& peer) { serve_cdn(request, peer); }};

 public:
  HttpStandIn hub{[this](const Request& request, Peer& peer) { serve_hub(request, peer); }};
  const HttpStandIn& cdn() const { return cdn_; }

  HubOptions options(const fs::path& cache) const {
    HubOptions options{.endpoint = hub.url(), .cache = cache};
    options.retry_delay = std::chrono::milliseconds(1);
    options.max_retry_delay = std::chrono::milliseconds(2000);
    return options;
  }

  // The requests to the hub for a path, and to the CDN, so far.
  size_t hub_requests(std::string_view part) const {
    size_t n = 0;
    for (const Request& r : hub.requests()) n += r.target.find(part) != std::string::npos;
    return n;
  }
  size_t cdn_requests() const { return cdn_.requests().size(); }

  static bool is_large(std::string_view path) {
    return path.ends_with(".gguf") || path.ends_with(".safetensors");
  }

  static std::string error(int status, const std::string& code) {
    return http_response(status, {{"X-Error-Code", code}}, "{\"error\":\"" + code + "\"}");
  }

  // Serves content as a well-behaved server of files does, with ranges.
  static void serve_content(const Request& request, Peer& peer, const std::string& content,
                            HttpHeaders headers) {
    const std::string range = request.header("Range");
    size_t first = 0, last = content.size() - 1;
    if (range.empty()) {
      std::string text = http_response(200, headers, content);
      if (request.method == "HEAD") text.resize(text.size() - content.size());
      peer.send(text);
      return;
    }
    const size_t dash = range.find('-');
    std::from_chars(range.data() + 6, range.data() + dash, first);
    if (dash + 1 < range.size()) std::from_chars(range.data() + dash + 1, range.data() + range.size(), last);
    last = std::min(last, content.size() - 1);
    if (first > last) return (void)peer.send(http_response(416, {}, ""));
    headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", first, last, content.size()));
    peer.send(http_response(206, headers, content.substr(first, last - first + 1)));
  }

 private:
  void serve_hub(const Request& request, Peer& peer) {
    if (at_hub && at_hub(request, peer)) return;
    if (!token.empty() && request.header("Authorization") != "Bearer " + token)
      return (void)peer.send(error(401, "GatedRepo"));
    const std::string& target = request.target;
    const std::string api = "/api/models/" + repo, content = "/" + repo + "/resolve/";
    if (target == api + "/revision/main" || target == api + "/revision/" + commit) {
      peer.send(http_response(200, {}, to_string(revision())));
    } else if (target.starts_with(api + "/revision/")) {
      peer.send(error(404, "RevisionNotFound"));
    } else if (has_tree && target.starts_with(api + "/tree/" + commit + "?recursive=true")) {
      serve_tree(target, peer);
    } else if (target.starts_with("/api/models?search=")) {
      peer.send(http_response(200, {}, "[{\"id\":\"" + repo + "\"}]"));
    } else if (const std::string path = path_after(content, target); files.count(path)) {
      serve_file(path, request, peer);
    } else {
      peer.send(error(404, target.starts_with("/" + repo + "/") ? "EntryNotFound" : "RepoNotFound"));
    }
  }

  // "a b" of "/org/name/resolve/main/a%20b"; empty where the target is no such.
  std::string path_after(const std::string& content, const std::string& target) const {
    for (const std::string& prefix : {content + commit + "/", content + "main/"})
      if (target.starts_with(prefix)) return percent_decode(target.substr(prefix.size()));
    return {};
  }

  Json revision() const {
    Json siblings{JsonArray{}};
    for (const auto& [path, content] : files) siblings.as_array().push_back(JsonObject{{"rfilename", path}});
    return JsonObject{{"id", repo}, {"sha", commit}, {"siblings", siblings}};
  }

  void serve_tree(const std::string& target, Peer& peer) const {
    size_t begin = 0;
    if (const size_t cursor = target.find("cursor="); cursor != std::string::npos)
      begin = std::stoul(target.substr(cursor + 7));
    Json tree{JsonArray{JsonObject{{"type", "directory"}, {"oid", "0"}, {"size", 0}, {"path", "some"}}}};
    size_t i = 0;
    for (const auto& [path, content] : files) {
      if (i++ < begin || i > begin + page) continue;
      Json file{JsonObject{{"type", "file"}, {"size", uint64_t{content.size()}}, {"path", path}}};
      file.set("oid", digest_of(DigestKind::git_blob, is_large(path) ? "a pointer" : content));
      if (is_large(path))
        file.set("lfs", JsonObject{{"oid", digest_of(DigestKind::sha256, content)},
                                   {"pointerSize", 134},
                                   {"size", uint64_t{content.size()}}});
      tree.as_array().push_back(std::move(file));
    }
    HttpHeaders headers;
    if (begin + page < files.size())
      headers.emplace_back(
          "Link", fmt::format("<{}/api/models/{}/tree/{}?recursive=true&cursor={}>; rel=\"next\"", hub.url(),
                              repo, commit, begin + page));
    peer.send(http_response(200, headers, to_string(tree)));
  }

  void serve_file(const std::string& path, const Request& request, Peer& peer) const {
    const std::string& content = files.at(path);
    HttpHeaders headers{{"X-Repo-Commit", commit}};
    if (is_large(path)) {
      const std::string sha256 = digest_of(DigestKind::sha256, content);
      headers.emplace_back("X-Linked-Etag", "\"" + sha256 + "\"");
      headers.emplace_back("X-Linked-Size", std::to_string(content.size()));
      headers.emplace_back("ETag", "\"etag-of-the-redirect\"");
      headers.emplace_back("Location", cdn_.url("/" + path));
      peer.send(http_response(302, headers, ""));
    } else {
      headers.emplace_back("ETag", "\"" + digest_of(DigestKind::git_blob, content) + "\"");
      serve_content(request, peer, content, headers);
    }
  }

  void serve_cdn(const Request& request, Peer& peer) {
    if (at_cdn && at_cdn(request, peer)) return;
    serve_content(request, peer, files.at(request.target.substr(1)), {{"ETag", "\"of-the-cdn\""}});
  }
};

// A folder of its own for each test.
class HubTest : public testing::Test {
 protected:
  fs::path folder_;
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / fmt::format("minke-hub-{}-{}", ::getpid(), info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static void put(const fs::path& path, std::string_view content) {
    fs::create_directories(path.parent_path());
    write_file(path, content);
  }
};

// The Error a call ends in, as text; empty where there is none.
template <typename Call>
std::string error_of(Call call) {
  try {
    call();
    return {};
  } catch (const Error& e) {
    return e.what();
  }
}

}  // namespace minke

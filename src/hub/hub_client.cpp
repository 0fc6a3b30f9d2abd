#include "hub/hub_client.h"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "base/json.h"
#include "hub/digest.h"

namespace minke {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxFiles = 100'000;
constexpr int kMaxPages = 2'000;
constexpr milliseconds kMetadataTime{120'000};

// An etag becomes the name of a file.
std::string checked_etag(std::string_view etag, const std::string& subject) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  const bool plain = std::all_of(etag.begin(), etag.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.';
  });
  if (etag.empty() || etag.size() > 128 || etag.front() == '.' || !plain)
    throw Error(
        fmt::format("the hub answers with an etag that cannot name a file: '{}'", printable(etag, 80)),
        subject);
  return std::string(etag);
}

std::optional<uint64_t> header_number(const HttpResponse& response, std::string_view name) {
  const std::string* text = response.header(name);
  return text ? parse_retry_after(*text) : std::nullopt;
}

std::optional<uint64_t> size_in(const Json& json, std::string_view key) {
  const Json* size = json.find(key);
  if (!size || !size->is_int() || size->as_int() < 0) return std::nullopt;
  return static_cast<uint64_t>(size->as_int());
}

std::string text_in(const Json& json, std::string_view key) {
  const Json* text = json.find(key);
  return text && text->is_string() ? text->as_string() : "";
}

// One entry of a tree: a file, or nothing where it is a folder.
std::optional<HubFile> file_in(const Json& entry) {
  if (text_in(entry, "type") != "file") return std::nullopt;
  HubFile file{entry.at("path").as_string(), size_in(entry, "size"), "", ""};
  const Json* lfs = entry.find("lfs");
  if (lfs && lfs->is_object()) {
    file.sha256 = text_in(*lfs, "oid");
    if (const auto size = size_in(*lfs, "size")) file.size = size;
    if (!is_hex(file.sha256, 64)) file.sha256.clear();
  } else {
    file.git_blob = text_in(entry, "oid");
    if (!is_hex(file.git_blob, 40)) file.git_blob.clear();
  }
  return file;
}

// The commit and the names of an answer to /revision/.
HubListing listing_in(const Json& info) {
  HubListing listing{info.at("sha").as_string(), {}};
  if (!is_hex(listing.commit, 40)) throw Error("'sha' is no commit");
  if (const Json* siblings = info.find("siblings"))
    for (const Json& sibling : siblings->as_array())
      listing.files.push_back({sibling.at("rfilename").as_string(), std::nullopt, "", ""});
  if (listing.files.size() > kMaxFiles) throw Error(fmt::format("it has more than {} files", kMaxFiles));
  return listing;
}

// What `read` makes of the hub's answer; its Errors name the repository.
template <typename Read>
auto readable(const std::string& repo, Read read) {
  try {
    return read();
  } catch (const Error& e) {
    throw Error(fmt::format("the hub's listing cannot be read: {}", e.happened()), repo,
                "is the hub's address that of a model hub?");
  }
}

bool is_passing(const HttpResponse& response) {
  switch (response.failure) {
    case HttpFailure::none: break;
    case HttpFailure::name:
    case HttpFailure::connect:
    case HttpFailure::timeout:
    case HttpFailure::broken: return true;
    default: return false;
  }
  return response.status == 408 || response.status == 429 || response.status == 500 ||
         response.status == 502 || response.status == 503 || response.status == 504;
}

bool is_redirect(const HttpResponse& response) { return response.status >= 300 && response.status < 400; }

}  // namespace

Hub::Hub(HubOptions options) : options_(std::move(options)), client_(options_.http) {
  while (options_.endpoint.ends_with('/')) options_.endpoint.pop_back();
  try {
    parse_url(options_.endpoint);
  } catch (const Error& e) {
    throw e.within("the hub's address");
  }
}

bool Hub::is_canceled() const { return options_.canceled && options_.canceled(); }

HttpRequest Hub::request(const std::string& method, const std::string& url) const {
  if (options_.offline) throw Error("the hub is not asked: offline mode is set", url, "unset HF_HUB_OFFLINE");
  HttpRequest request{.method = method, .url = url};
  // A page of a listing may lie with another host; the token stays with the endpoint.
  if (!options_.token.empty() && parse_url(url).origin() == parse_url(options_.endpoint).origin())
    request.headers.emplace_back("Authorization", "Bearer " + options_.token);
  request.timeouts = options_.timeouts;
  request.canceled = options_.canceled;
  return request;
}

HttpResponse Hub::send(const HttpRequest& request) const {
  for (int retry = 0;; ++retry) {
    HttpResponse response = client_.request(request);
    const bool reachable = response.failure != HttpFailure::name && response.failure != HttpFailure::connect;
    if (response.ok() || is_redirect(response) || !reachable || !wait_to_retry(response, retry))
      return response;
  }
}

bool Hub::wait_to_retry(const HttpResponse& response, int retry) const {
  if (!is_passing(response) || retry >= options_.retries) return false;
  milliseconds delay = std::min(options_.retry_delay * (1 << std::min(retry, 10)), options_.max_retry_delay);
  if (const auto asked = header_number(response, "Retry-After")) {
    const auto limit = static_cast<uint64_t>(options_.max_retry_delay.count()) / 1000;
    if (*asked > limit) return false;
    delay = milliseconds(*asked * 1000);
  }
  const auto until = std::chrono::steady_clock::now() + delay;
  while (std::chrono::steady_clock::now() < until) {
    if (is_canceled()) return false;
    std::this_thread::sleep_for(std::min(delay, milliseconds(50)));
  }
  return true;
}

HubListing Hub::list(const std::string& repo, const std::string& revision) const {
  const std::string api = fmt::format("{}/api/models/{}", options_.endpoint, repo);
  const auto ask = [&](const std::string& url) {
    HttpRequest asked = request("GET", url);
    asked.timeouts.total = kMetadataTime;
    return send(asked);
  };
  HttpResponse response =
      ask(fmt::format("{}/revision/{}", api, percent_encode(revision.empty() ? "main" : revision)));
  if (!response.ok()) throw error(response, repo, revision, "");
  HubListing listing = readable(repo, [&] { return listing_in(parse_json(response.body)); });

  std::vector<HubFile> files;
  std::string next = fmt::format("{}/tree/{}?recursive=true", api, listing.commit);
  for (int page = 0; !next.empty(); ++page) {
    response = ask(next);
    const bool no_tree = page == 0 && response.failure == HttpFailure::none && response.status == 404;
    if (no_tree) return listing;  // of a simpler endpoint: names without sizes
    if (!response.ok()) throw error(response, repo, revision, "");
    next = readable(repo, [&] {
      if (page == kMaxPages) throw Error("it does not end");
      const Json tree = parse_json(response.body);
      for (const Json& entry : tree.as_array())
        if (auto file = file_in(entry)) files.push_back(std::move(*file));
      if (files.size() > kMaxFiles) throw Error(fmt::format("it has more than {} files", kMaxFiles));
      const std::string* links = response.header("Link");
      const std::string target = links ? link_target(*links, "next") : "";
      return target.empty() ? "" : resolve_reference(parse_url(response.url), target).text();
    });
  }
  listing.files = std::move(files);
  return listing;
}

HubFileHead Hub::head(const std::string& repo, const std::string& commit, const std::string& path) const {
  const std::string subject = repo + "/" + path;
  HttpRequest asked = request("HEAD", file_url(repo, commit, path));
  asked.timeouts.total = kMetadataTime;
  // The hub itself tells what it has to tell before it sends one on to where the content lies. A mirror may
  // send one on to the hub first.
  asked.redirects = Redirects::same_origin;
  HttpResponse response = send(asked);
  if (is_redirect(response) && !response.header("X-Linked-Etag")) {
    asked.redirects = Redirects::any;
    response = send(asked);
  }
  if (!response.ok() && !(response.failure == HttpFailure::none && is_redirect(response)))
    throw error(response, repo, commit, path);
  const std::string* at = response.header("X-Repo-Commit");
  if (at && *at != commit)
    throw Error(fmt::format("the hub answers for commit {} instead of {}", printable(*at, 40), commit),
                subject);
  const std::string* etag = response.header("X-Linked-Etag");
  if (!etag) etag = response.header("ETag");
  if (!etag)
    throw Error("the hub names no etag of this file", subject, "is the hub's address that of a model hub?");
  HubFileHead head{checked_etag(*etag, subject), header_number(response, "X-Linked-Size")};
  if (!head.size && response.ok()) head.size = header_number(response, "Content-Length");
  return head;
}

HttpResponse Hub::get(const std::string& repo, const std::string& commit, const std::string& path,
                      uint64_t offset, uint64_t length,
                      std::function<void(const HttpResponse&, Bytes)> on_body) const {
  HttpRequest asked = request("GET", file_url(repo, commit, path));
  if (offset > 0 || length > 0)
    asked.headers.emplace_back("Range", length > 0 ? fmt::format("bytes={}-{}", offset, offset + length - 1)
                                                   : fmt::format("bytes={}-", offset));
  asked.max_body = UINT64_MAX;  // the receiver knows how much may come
  asked.on_body = std::move(on_body);
  return client_.request(asked);
}

std::string Hub::file_url(const std::string& repo, const std::string& commit, const std::string& path) const {
  return fmt::format("{}/{}/resolve/{}/{}", options_.endpoint, repo, percent_encode(commit),
                     percent_encode(path, "/"));
}

std::string Hub::similar_names(const std::string& repo) const {
  try {
    const std::string name = repo.substr(repo.find('/') + 1);
    HttpRequest asked = request(
        "GET", fmt::format("{}/api/models?search={}&limit=5", options_.endpoint, percent_encode(name)));
    asked.timeouts.total = milliseconds(10'000);
    const HttpResponse response = client_.request(asked);
    if (!response.ok()) return {};
    std::string names;
    const Json found = parse_json(response.body);
    for (const Json& model : found.as_array())
      names += (names.empty() ? "" : ", ") + printable(model.at("id").as_string(), 120);
    return names;
  } catch (const Error&) {  // a kindness; the error it would go with is the one to tell
    return {};
  }
}

Error Hub::error(const HttpResponse& response, const std::string& repo, const std::string& revision,
                 const std::string& path) const {
  const std::string subject = path.empty() ? repo : repo + "/" + path;
  if (response.failure == HttpFailure::canceled || is_canceled())
    return Error("canceled", subject, "what was fetched is kept for the next time");
  if (response.failure != HttpFailure::none) return http_error(response).within(subject);
  const auto header = [&](std::string_view name) {
    const std::string* value = response.header(name);
    return value ? *value : std::string();
  };
  const std::string code = header("X-Error-Code");
  const std::string page = fmt::format("{}/{}", options_.endpoint, repo);
  const std::string token = options_.token.empty() ? "set HF_TOKEN to a token of that account"
                                                   : "see that HF_TOKEN is of that account and may read it";
  if (code == "GatedRepo" || response.status == 403)
    return Error("the hub gives this model only to those who accepted its licence", subject,
                 fmt::format("accept it on {} and {}", page, token));
  if (response.status == 401 && !options_.token.empty() && code.empty())
    return Error("the hub does not accept the token", subject, "see that HF_TOKEN is right, or unset it");
  if (response.status == 401 || code == "RepoNotFound" ||
      (response.status == 404 && code.empty() && path.empty())) {
    const std::string similar = similar_names(repo);
    return Error(
        "the hub has no such model, or shows it only to some", subject,
        (similar.empty() ? "check the name" : "there are " + similar) +
            fmt::format("; for a private or gated one accept its licence on {} and {}", page, token));
  }
  if (code == "RevisionNotFound")
    return Error(fmt::format("the model has no revision '{}'", printable(revision, 80)), subject);
  if (response.status == 404) return Error("the hub has no such file", subject);
  if (response.status == 429) {
    const auto wait = header_number(response, "Retry-After");
    return Error("the hub has had too many requests from here", subject,
                 wait ? fmt::format("try again in {} s", *wait) : "try again later");
  }
  return http_error(response).within(subject);
}

}  // namespace minke

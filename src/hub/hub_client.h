#pragma once
// The model hub's protocol, as its own clients speak it: the files of a revision, what is known of one, its
// content.

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "net/http_client.h"

namespace minke {

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token = {};  // sent to the endpoint and to no other host
  fs::path cache = {};     // the folder of hub/cache.h
  bool offline = false;    // every request is refused
  HttpOptions http = {};
  HttpTimeouts timeouts = {.idle_bytes = 2048};
  int retries = 5;  // of a request in a row, or of a download that made no progress
  std::chrono::milliseconds retry_delay{1000};  // before the first retry; doubled for each further one
  std::chrono::milliseconds max_retry_delay{
      60'000};  // where the hub asks for a longer wait, that is an error
  uint64_t piece_bytes = uint64_t{16}
                         << 30;  // a longer file is asked for in such pieces: CDNs refuse more than 50 GB
  std::function<bool()> canceled = {};
};

struct HubFile {
  std::string path;
  std::optional<uint64_t> size;
  std::string sha256;    // of the content, of a file in large-file storage; else empty
  std::string git_blob;  // git's name of the content, of another file; else empty
};

struct HubListing {
  std::string commit;  // 40 hexadecimal digits
  std::vector<HubFile> files;
};

// What the hub says of one file at one commit.
struct HubFileHead {
  std::string etag;  // without quotes; names the blob in the cache, and is safe to
  std::optional<uint64_t> size;
};

class Hub {
 public:
  // Throws Error where the endpoint is no URL or ca_file cannot be read.
  explicit Hub(HubOptions options);

  const HubOptions& options() const { return options_; }

  // The files of a revision (empty: main). Throws Error: no such model or revision, with similar names where
  // the hub knows some; access to be asked for; no network.
  HubListing list(const std::string& repo, const std::string& revision) const;

  HubFileHead head(const std::string& repo, const std::string& commit, const std::string& path) const;

  // One GET for bytes [offset, offset + length) of a file; the rest of it where length is 0. The response as
  // it came, a failure or an error status included. on_body as in HttpRequest.
  HttpResponse get(const std::string& repo, const std::string& commit, const std::string& path,
                   uint64_t offset, uint64_t length,
                   std::function<void(const HttpResponse&, Bytes)> on_body) const;

  // What a response that is not ok means for this repository, to a user.
  Error error(const HttpResponse& response, const std::string& repo, const std::string& revision,
              const std::string& path) const;

  // Waits before retry number `retry` (from 0), as long as the response asks for. Returns false, at once,
  // where another try is pointless: not a passing failure, tried too often, or the hub asks for more patience
  // than allowed.
  bool wait_to_retry(const HttpResponse& response, int retry) const;

  bool is_canceled() const;

 private:
  HttpRequest request(const std::string& method, const std::string& url) const;
  HttpResponse send(const HttpRequest& request) const;  // with retries
  std::string file_url(const std::string& repo, const std::string& commit, const std::string& path) const;
  std::string similar_names(const std::string& repo) const;

  HubOptions options_;
  HttpClient client_;
};

}  // namespace minke

#include "hub/download.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "hub/digest.h"

namespace minke {
namespace {

using Progress = std::function<void(PullPhase, uint64_t)>;

std::string subject_of(const Download& wanted) { return wanted.repo + "/" + wanted.path; }

// The partial file and the digest of what is in it.
class Partial {
 public:
  Partial(const Hub& hub, const Download& wanted, const Progress& progress) : wanted_(wanted) {
    fd_ = ::open(wanted.partial.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0) failed("create");
    struct stat info;
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd_);
      throw Error("is not a regular file", wanted.partial.string());
    }
    restart_digest();
    const auto there = static_cast<uint64_t>(info.st_size);
    try {
      if (there > wanted.size)
        restart();
      else
        read_present(hub, there, progress);
    } catch (...) {
      ::close(fd_);
      throw;
    }
  }
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;
  ~Partial() { ::close(fd_); }

  uint64_t size() const { return size_; }

  void append(Bytes bytes) {
    if (digest_) digest_->add(bytes);
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) failed("write");
      bytes = bytes.subspan(static_cast<size_t>(n));
      size_ += static_cast<uint64_t>(n);
    }
  }

  void restart() {
    if (::ftruncate(fd_, 0) != 0) failed("empty");
    size_ = 0;
    restart_digest();
  }

  // Ends the digest. Throws nothing where nothing is known of the content.
  bool is_as_promised() {
    return !digest_ || digest_->hex() == (wanted_.sha256.empty() ? wanted_.git_blob : wanted_.sha256);
  }

  void sync() {
    if (::fsync(fd_) != 0) failed("sync");
  }

 private:
  [[noreturn]] void failed(const char* doing) const {
    throw Error(fmt::format("cannot {}: {}", doing, std::generic_category().message(errno)),
                wanted_.partial.string());
  }

  void restart_digest() {
    if (!wanted_.sha256.empty())
      digest_.emplace(DigestKind::sha256, wanted_.size);
    else if (!wanted_.git_blob.empty())
      digest_.emplace(DigestKind::git_blob, wanted_.size);
  }

  void read_present(const Hub& hub, uint64_t there, const Progress& progress) {
    std::string chunk(size_t{1} << 20, '\0');
    while (size_ < there) {
      if (hub.is_canceled())
        throw Error("canceled", subject_of(wanted_), "what was fetched is kept for the next time");
      progress(PullPhase::checking, size_);
      const ssize_t n = ::pread(fd_, chunk.data(), std::min<uint64_t>(chunk.size(), there - size_),
                                static_cast<off_t>(size_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) failed("read");
      if (n == 0) break;
      if (digest_) digest_->add(as_bytes({chunk.data(), static_cast<size_t>(n)}));
      size_ += static_cast<uint64_t>(n);
    }
  }

  const Download& wanted_;
  int fd_ = -1;
  uint64_t size_ = 0;
  std::optional<Digest> digest_;
};

// Before the first byte of a response: is it the part of the file that was asked for?
void begin_part(const HttpResponse& response, const Download& wanted, Partial& partial) {
  const std::string subject = subject_of(wanted);
  if (response.status == 206) {
    const std::string* text = response.header("Content-Range");
    const auto range = text ? parse_content_range(*text) : std::nullopt;
    if (!range || range->first != partial.size() || range->last >= wanted.size ||
        range->total.value_or(wanted.size) != wanted.size)
      throw Error("the server sent another part of the file than was asked for", subject);
    return;
  }
  if (response.status != 200)
    throw Error(fmt::format("HTTP {} is no answer to this", response.status), subject);
  const std::string* length = response.header("Content-Length");
  if (length && *length != std::to_string(wanted.size))
    throw Error(fmt::format("the server sends {} bytes where the hub promised {}", printable(*length, 20),
                            wanted.size),
                subject);
  if (partial.size() > 0) partial.restart();  // the range was not heeded
}

HttpResponse fetch_part(const Hub& hub, const Download& wanted, Partial& partial, const Progress& progress,
                        uint64_t& received) {
  const uint64_t rest = wanted.size - partial.size();
  const uint64_t piece = hub.options().piece_bytes;
  bool begun = false;
  return hub.get(wanted.repo, wanted.commit, wanted.path, partial.size(), rest > piece ? piece : 0,
                 [&](const HttpResponse& response, Bytes bytes) {
                   if (!begun) begin_part(response, wanted, partial);
                   begun = true;
                   if (bytes.size() > wanted.size - partial.size())
                     throw Error(
                         fmt::format("the server sends more than the {} bytes the hub promised", wanted.size),
                         subject_of(wanted));
                   partial.append(bytes);
                   received += bytes.size();
                   progress(PullPhase::fetching, partial.size());
                 });
}

// Returns the bytes received.
uint64_t fetch_rest(const Hub& hub, const Download& wanted, Partial& partial, const Progress& progress) {
  uint64_t received = 0;
  uint64_t furthest = partial.size();
  int failures = 0;
  while (partial.size() < wanted.size) {
    HttpResponse response = fetch_part(hub, wanted, partial, progress, received);
    if (partial.size() > furthest) {
      furthest = partial.size();
      failures = 0;
      if (response.ok()) continue;
    }
    if (response.status == 416) {  // what lies here is longer than the file there
      partial.restart();
      response.failure = HttpFailure::broken;
      response.detail = "the server does not have the part of the file that is missing";
    } else if (response.ok()) {
      response.failure = HttpFailure::broken;
      response.detail = "the server ends the file before its time";
    }
    if (!hub.wait_to_retry(response, failures++))
      throw hub.error(response, wanted.repo, wanted.commit, wanted.path);
  }
  return received;
}

}  // namespace

uint64_t download(const Hub& hub, const Download& wanted, const Progress& progress) {
  Partial partial(hub, wanted, progress);
  bool resumed = partial.size() > 0;
  uint64_t received = 0;
  for (;;) {
    progress(PullPhase::fetching, partial.size());
    received += fetch_rest(hub, wanted, partial, progress);
    if (partial.is_as_promised()) break;
    partial.restart();
    if (!resumed) {
      std::error_code ignored;
      fs::remove(wanted.partial, ignored);
      throw Error("the content is not what the hub promised: its checksum differs", subject_of(wanted),
                  "it was removed; a proxy or a mirror on the way may have changed it");
    }
    resumed = false;  // what an earlier attempt left may have been damaged: once more, from the beginning
  }
  partial.sync();
  return received;
}

}  // namespace minke

#pragma once
// The folder in which the hub's own tools keep what they downloaded ($HF_HOME/hub), in exactly their layout,
// so that each side finds what the other fetched:
//   models--ORG--NAME/blobs/ETAG                 contents
//   models--ORG--NAME/snapshots/COMMIT/PATH      relative links to blobs
//   models--ORG--NAME/refs/REVISION              the commit of a branch or tag
//   .locks/models--ORG--NAME/ETAG.lock           held (flock) by who downloads that blob
// A blob may itself be a link: into blobs/ beside the repositories, where newer tools share contents between
// them.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace minke {

struct CachedRepo {
  fs::path cache;
  std::string repo;  // "org/name"

  std::string folder_name() const;  // "models--org--name"
  fs::path folder() const { return cache / folder_name(); }
  fs::path blob(std::string_view etag) const { return folder() / "blobs" / etag; }
  fs::path partial(std::string_view etag) const {
    return folder() / "blobs" / (std::string(etag) + ".incomplete");
  }
  fs::path lock(std::string_view etag) const {
    return cache / ".locks" / folder_name() / (std::string(etag) + ".lock");
  }
  fs::path snapshot(std::string_view commit) const { return folder() / "snapshots" / commit; }
};

// Every repository of a model in the cache, by name; none where the cache does not exist.
std::vector<CachedRepo> cached_repos(const fs::path& cache);

// The commits there are snapshots of, in order.
std::vector<std::string> cached_commits(const CachedRepo& repo);

// Branches and tags and their commits, as {revision, commit}, in order.
std::vector<std::pair<std::string, std::string>> cached_refs(const CachedRepo& repo);

// The commit whose snapshot this revision means: through refs, or a commit or the beginning (7 digits or
// more) of just one. Empty means main, or the only snapshot. Nothing where it is not in the cache.
std::optional<std::string> cached_commit(const CachedRepo& repo, std::string_view revision);

// The files of a snapshot, '/'-separated and in order, that lead to a file; broken links are left out.
std::vector<std::string> snapshot_files(const fs::path& snapshot);

// Writes refs/REVISION; nothing where the revision is the commit itself.
void write_ref(const CachedRepo& repo, const std::string& revision, const std::string& commit);

// Makes snapshots/COMMIT/PATH lead to blobs/ETAG, whatever was there before. Where the file system knows no
// links the blob is moved there.
void link_blob(const CachedRepo& repo, const std::string& commit, const std::string& path,
               const std::string& etag);

// Marks the cache as one for backup programs (CACHEDIR.TAG), as the hub's tools do.
void tag_cache(const fs::path& cache);

// Held while a blob is fetched; released with the object, or with the process.
class FileLock {
 public:
  // Waits for it; asks `waiting` ten times a second while another process has it. Throws what that throws.
  FileLock(const fs::path& path, const std::function<void()>& waiting);
  // Without waiting: nothing where another process has it.
  static std::optional<FileLock> try_lock(const fs::path& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace minke

#include "hub/cache.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "hub/digest.h"

namespace minke {
namespace {

constexpr std::string_view kPrefix = "models--";
constexpr size_t kMaxFiles = 100'000;  // of a folder, against one that never ends
constexpr const char* kCacheTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file is a cache directory tag: backup programs may leave this folder out.\n"
    "# See https://bford.info/cachedir/\n";

std::string reason(int error) { return std::generic_category().message(error); }

void make_folder(const fs::path& folder) {
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (ec) throw Error(fmt::format("cannot create the folder: {}", ec.message()), folder.string());
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end && names.size() < kMaxFiles;
       it.increment(ec))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Regular files, or links to them, below a folder.
std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> paths;
  std::error_code ec;
  for (fs::recursive_directory_iterator it(folder, ec), end; !ec && it != end && paths.size() < kMaxFiles;
       it.increment(ec)) {
    std::error_code broken;
    if (it->is_regular_file(broken)) paths.push_back(it->path().lexically_relative(folder).generic_string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

int open_lock(const fs::path& path) {
  make_folder(path.parent_path());
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
  if (fd < 0) throw Error(fmt::format("cannot open the lock: {}", reason(errno)), path.string());
  return fd;
}

// Returns whether it is held now. A file system without locks gives it to everyone: contents are verified
// anyway.
bool take_lock(int fd, const fs::path& path) {
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOSYS || errno == ENOTSUP || errno == ENOLCK) return true;
    if (errno == EWOULDBLOCK || errno == EACCES) return false;
    const int error = errno;
    ::close(fd);
    throw Error(fmt::format("cannot lock: {}", reason(error)), path.string());
  }
  return true;
}

// Whether the file under the path is still the one that was opened: another tool may have removed it
// meanwhile.
bool is_current(int fd, const fs::path& path) {
  struct stat held, there;
  return ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &there) == 0 && held.st_ino == there.st_ino &&
         held.st_dev == there.st_dev;
}

}  // namespace

std::string CachedRepo::folder_name() const {
  std::string name(kPrefix);
  for (const char c : repo) {
    if (c == '/')
      name += "--";
    else
      name += c;
  }
  return name;
}

std::vector<CachedRepo> cached_repos(const fs::path& cache) {
  std::vector<CachedRepo> repos;
  for (const std::string& name : names_in(cache)) {
    if (!name.starts_with(kPrefix)) continue;
    const std::string repo = name.substr(kPrefix.size());
    const size_t dashes = repo.find("--");
    const bool has_org = dashes != std::string::npos;
    repos.push_back(
        {cache, has_org ? fmt::format("{}/{}", repo.substr(0, dashes), repo.substr(dashes + 2)) : repo});
  }
  return repos;
}

std::vector<std::string> cached_commits(const CachedRepo& repo) {
  return names_in(repo.folder() / "snapshots");
}

std::vector<std::pair<std::string, std::string>> cached_refs(const CachedRepo& repo) {
  const fs::path folder = repo.folder() / "refs";
  std::vector<std::pair<std::string, std::string>> refs;
  for (std::string& revision : files_below(folder)) {
    try {
      std::string commit = read_file(folder / revision, 256);
      while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
      if (is_hex(commit, 40)) refs.emplace_back(std::move(revision), std::move(commit));
    } catch (const Error&) {  // unreadable or of no size a ref has: as if it were not there
    }
  }
  return refs;
}

std::optional<std::string> cached_commit(const CachedRepo& repo, std::string_view revision) {
  const std::vector<std::string> commits = cached_commits(repo);
  const std::string_view wanted = revision.empty() ? "main" : revision;
  for (const auto& [name, commit] : cached_refs(repo))
    if (name == wanted && std::find(commits.begin(), commits.end(), commit) != commits.end()) return commit;
  if (revision.empty()) return commits.size() == 1 ? std::optional(commits[0]) : std::nullopt;
  if (revision.size() < 7) return std::nullopt;
  std::vector<std::string> fitting;
  for (const std::string& commit : commits)
    if (commit.starts_with(revision)) fitting.push_back(commit);
  return fitting.size() == 1 ? std::optional(fitting[0]) : std::nullopt;
}

std::vector<std::string> snapshot_files(const fs::path& snapshot) { return files_below(snapshot); }

void write_ref(const CachedRepo& repo, const std::string& revision, const std::string& commit) {
  if (revision == commit) return;
  const fs::path path = repo.folder() / "refs" / revision;
  make_folder(path.parent_path());
  write_file(path, commit);
}

void link_blob(const CachedRepo& repo, const std::string& commit, const std::string& path,
               const std::string& etag) {
  const fs::path link = repo.snapshot(commit) / path;
  make_folder(link.parent_path());
  fs::path temporary = link;
  temporary += fmt::format(".partial-{}", ::getpid());
  std::error_code ec;
  fs::remove(temporary, ec);
  fs::create_symlink(repo.blob(etag).lexically_relative(link.parent_path()), temporary, ec);
  if (ec) {
    fs::rename(repo.blob(etag), link, ec);
    if (ec) throw Error(fmt::format("cannot move the downloaded file here: {}", ec.message()), link.string());
    return;
  }
  fs::rename(temporary, link, ec);
  if (!ec) return;
  const std::string why = ec.message();
  fs::remove(temporary, ec);
  throw Error(fmt::format("cannot make the link: {}", why), link.string());
}

void tag_cache(const fs::path& cache) {
  make_folder(cache);
  const fs::path tag = cache / "CACHEDIR.TAG";
  std::error_code ec;
  if (fs::exists(tag, ec)) return;
  try {
    write_file(tag, kCacheTag);
  } catch (const Error&) {  // a convenience
  }
}

FileLock::FileLock(const fs::path& path, const std::function<void()>& waiting) {
  for (;;) {
    const int fd = open_lock(path);
    if (take_lock(fd, path) && is_current(fd, path)) {
      fd_ = fd;
      return;
    }
    ::close(fd);
    waiting();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

std::optional<FileLock> FileLock::try_lock(const fs::path& path) {
  const int fd = open_lock(path);
  if (take_lock(fd, path) && is_current(fd, path)) return FileLock(fd);
  ::close(fd);
  return std::nullopt;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace minke

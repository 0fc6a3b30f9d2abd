#include "base/file.h"

#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/memory.h"

namespace minke {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

// Opens a regular file for reading; returns the descriptor and sets its size.
int open_for_reading(const fs::path& path, size_t& size) {
  // Without O_NONBLOCK the opening of a pipe would wait for someone to write to it.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw Error(fmt::format("cannot open: {}", reason(errno)), path.string());
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    const bool directory = S_ISDIR(info.st_mode);
    ::close(fd);
    throw Error(directory ? "is a directory, not a file" : "is not a regular file", path.string());
  }
  size = static_cast<size_t>(info.st_size);
  return fd;
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  fd_ = open_for_reading(path, size_);
  if (size_ == 0) {
    ::close(std::exchange(fd_, -1));
    return;
  }
  void* address = map_at_huge_page(size_, PROT_READ, MAP_SHARED, fd_);
  const int error = errno;
  if (address == MAP_FAILED) {
    ::close(fd_);
    throw Error(fmt::format("cannot map {} bytes: {}", size_, reason(error)), path.string());
  }
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      fd_(std::exchange(other.fd_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(fd_, other.fd_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
}

void read_in(Bytes mapped) {
  constexpr size_t kPage = 4096;
  for (size_t at = 0; at < mapped.size(); at += kPage) [[maybe_unused]]
    const std::byte touched = *static_cast<const volatile std::byte*>(&mapped[at]);
}

std::string read_file(const fs::path& path, size_t max_bytes) {
  size_t size = 0;
  const int fd = open_for_reading(path, size);
  if (size > max_bytes) {
    ::close(fd);
    throw Error(fmt::format("{} bytes, at most {} are allowed here", size, max_bytes), path.string());
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::read(fd, text.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const std::string why = n < 0 ? reason(errno) : "the file became shorter while it was read";
      ::close(fd);
      throw Error(fmt::format("cannot read: {}", why), path.string());
    }
    done += static_cast<size_t>(n);
  }
  ::close(fd);
  return text;
}

std::string read_kernel_file(const fs::path& path) {
  size_t size = 0;
  const int fd = open_for_reading(path, size);
  std::string text;
  char buffer[1 << 16];
  ssize_t n;
  while ((n = ::read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR))
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
  const int error = errno;
  ::close(fd);
  if (n < 0) throw Error(fmt::format("cannot read: {}", reason(error)), path.string());
  return text;
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  static std::atomic<unsigned> count = 0;  // several may be under way in one process
  temporary_ = path_;
  temporary_ += fmt::format(".partial-{}-{}", ::getpid(), ++count);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) failed("create");
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!committed_) ::unlink(temporary_.c_str());
}

void AtomicFile::failed(const char* doing) const {
  throw Error(fmt::format("cannot {}: {}", doing, reason(errno)), path_.string());
}

void AtomicFile::write(Bytes bytes) {
  write_at(size_, bytes);
  size_ += bytes.size();
}

void AtomicFile::write_at(uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failed("write");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) failed("sync");
  ::close(std::exchange(fd_, -1));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) failed("rename into place");
  committed_ = true;
  const fs::path folder = path_.has_parent_path() ? path_.parent_path() : fs::path(".");
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {  // so that the rename survives a power cut; not every file system allows it
    ::fsync(directory);
    ::close(directory);
  }
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(as_bytes(text));
  file.commit();
}

}  // namespace minke

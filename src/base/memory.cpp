#include "base/memory.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace minke {

void* map_at_huge_page(size_t bytes, int protection, int flags, int fd) {
  constexpr size_t kAlign = kHugePage;
  if (bytes < kAlign) return ::mmap(nullptr, bytes, protection, flags, fd, 0);
  const size_t room_bytes = bytes + kAlign;
  void* room = ::mmap(nullptr, room_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return ::mmap(nullptr, bytes, protection, flags, fd, 0);
  const size_t before = (kAlign - reinterpret_cast<uintptr_t>(room) % kAlign) % kAlign;
  std::byte* at = static_cast<std::byte*>(room) + before;
  void* mapped = ::mmap(at, bytes, protection, flags | MAP_FIXED, fd, 0);
  const int error = errno;
  // Given back: what lies before, and the whole pages after.
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE)), end = (bytes + page - 1) / page * page;
  if (mapped == MAP_FAILED) {
    ::munmap(room, room_bytes);
    errno = error;
    return mapped;
  }
  if (before > 0) ::munmap(room, before);
  if (kAlign - before > end - bytes) ::munmap(at + end, room_bytes - before - end);
  return mapped;
}

Memory::Memory(int64_t bytes, const char* what) : size_(bytes) {
  if (bytes == 0) return;
  void* p = map_at_huge_page(static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  if (p == MAP_FAILED)
    throw Error(fmt::format("cannot allocate {:.2f} GB", static_cast<double>(bytes) / 1e9), what,
                "a smaller --ctx or --ubatch needs less");
  data_ = static_cast<std::byte*>(p);
  if (bytes >= 4 * kHugePage)
    ::madvise(p, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // a hint; refusal is fine
}

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Memory::~Memory() {
  if (data_) ::munmap(data_, static_cast<size_t>(size_));
}

int64_t machine_memory() {
  int64_t bytes = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  for (const char* limit : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    try {
      const std::string text = read_kernel_file(limit);
      int64_t most = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), most);
      if (error == std::errc() && most > 0) bytes = std::min(bytes, most);  // "max" is no number
    } catch (const Error&) {                                                // no such control group
    }
  }
  return bytes;
}

std::byte* Arena::take(int64_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  if (bytes > left_) {
    constexpr int64_t kChunk = 1 << 20;
    chunks_.emplace_back(std::max(bytes, kChunk), "weights made at load");
    left_ = chunks_.back().size();
  }
  std::byte* piece = chunks_.back().data() + (chunks_.back().size() - left_);
  left_ -= bytes;
  taken_ += bytes;
  return piece;
}

}  // namespace minke

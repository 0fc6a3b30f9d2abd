#include "base/memory.h"

#include <algorithm>
#include <charconv>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace minke {

Memory::Memory(int64_t bytes, const char* what) : size_(bytes) {
  if (bytes == 0) return;
  void* p = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw Error(fmt::format("cannot allocate {:.2f} GB", static_cast<double>(bytes) / 1e9), what,
                "a smaller --ctx or --ubatch needs less");
  data_ = static_cast<std::byte*>(p);
  constexpr int64_t kHugePage = 2 << 20;
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
      const std::string text = read_file(limit, 4096);
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

#pragma once
// Large blocks of memory: zeroed, 64-byte aligned, given back to the system as a whole.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace minke {

constexpr int64_t kHugePage = 2 << 20;  // where ordinary pages are of 4 KiB

// mmap at an address that is a multiple of kHugePage, where `bytes` are as many; fails as mmap does.
void* map_at_huge_page(size_t bytes, int protection, int flags, int fd);

// Pages straight from the system, on huge pages where the kernel grants them. Untouched pages cost nothing.
class Memory {
 public:
  Memory() = default;
  // Throws Error naming `what` and the size where the system has no such address space.
  Memory(int64_t bytes, const char* what);
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  ~Memory();

  std::byte* data() const { return data_; }
  int64_t size() const { return size_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  int64_t size_ = 0;
};

// Bytes of memory this machine has, no more than its container may use.
int64_t machine_memory();

// Memory handed out in pieces and given back all at once. Pieces are zeroed, aligned to 64 bytes, and never
// move.
class Arena {
 public:
  std::byte* take(int64_t bytes);
  int64_t taken() const { return taken_; }
  std::span<const Memory> chunks() const { return chunks_; }

 private:
  std::vector<Memory> chunks_;
  int64_t left_ = 0, taken_ = 0;
};

}  // namespace minke

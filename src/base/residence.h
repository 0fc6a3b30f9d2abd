#pragma once
// What memory mapped files lie in: large pages or small ones, the page cache's or the program's own, locked
// or free to be taken back. Addresses never change.

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/file.h"
#include "base/thread_pool.h"

namespace minke {

// What the kernel says of some bytes (/proc/self/smaps). Only pages that were touched count.
struct Residence {
  int64_t bytes = 0;      // all, touched or not
  int64_t present = 0;    // touched
  int64_t huge_file = 0;  // of them, on huge pages of the page cache, which every process shares
  int64_t huge_own = 0;   // ... on huge pages of the program's own
  int64_t locked = 0;
  int64_t huge() const { return huge_file + huge_own; }
};
Residence residence_of(std::span<const Bytes> ranges);

// Bytes of the file that the page cache holds now, to one part in 2 MiB, without reading any; `huge_file` is
// how much of them lies on huge pages.
Residence cached_part(const MappedFile& file);

// Whether huge pages are wanted: files read from now on come in on them where the file system can (ext4 since
// Linux 6.16, XFS since 5.18), and memory that is touched from now on where the kernel is set to; or small
// ones only. A hint.
void prefer_huge_pages(Bytes mapped, bool wanted);

// done(bytes) from any thread, as work goes on.
using BytesDone = std::function<void(int64_t)>;

// Reads `part` of the file into the page cache and maps it, on all threads. A part that cannot be read is
// left to be found by whoever needs it.
void read_in(ThreadPool& pool, Bytes part, const BytesDone& done = {});

// Drops the part from the page cache, where no other process maps it; it is read again when it is needed.
void forget(const MappedFile& file, Bytes part);

// A copy of a file.
using Room = std::function<void(std::span<std::byte>)>;

struct TakeOver {
  bool huge = false;         // on huge pages, where granted
  bool leave_cache = false;  // the page cache keeps the file
  Room prepare = {};         // is shown the memory before anything is in it,
  Room finish = {};          // and may change the copy, before it takes the file's place
  BytesDone done = {};
};

// Puts a copy in the program's own memory in the file's place. Throws Error naming the file where memory is
// short or reading fails; the mapping is then as it was.
void take_over(ThreadPool& pool, const MappedFile& file, const TakeOver& how);

// The same into other memory, which must have room for the file's bytes.
void copy_file(ThreadPool& pool, const MappedFile& file, std::span<std::byte> to, bool leave_cache,
               const BytesDone& done = {});

// Keeps what the ranges have in memory, and what will be read into them, from being taken back.
// RLIMIT_MEMLOCK is raised as far as it can be. Throws Error naming the limit and the ways to raise it;
// nothing stays locked then.
void lock_in_memory(std::span<const Bytes> ranges);

// "always", "madvise" or "never"; empty where the kernel does not say.
std::string huge_page_policy();

}  // namespace minke

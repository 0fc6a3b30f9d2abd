#include "base/residence.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/memory.h"

// Newer than Debian 12's headers, or left out of them.
#if !defined(MADV_POPULATE_READ)
#define MADV_POPULATE_READ 22
#endif

namespace minke {
namespace {

constexpr int64_t kPiece = 16 << 20;  // what a thread reads between two claims: whole huge pages

void* address(Bytes bytes) { return const_cast<std::byte*>(bytes.data()); }

// One mapping of /proc/self/smaps, in bytes.
struct SmapsEntry {
  uintptr_t begin = 0, end = 0;
  int64_t present = 0, huge_file = 0, huge_own = 0, locked = 0;
};

// "7f00-7f80 r--s ..." starts an entry, "Rss:   12 kB" says something of it.
void read_line(std::string_view line, std::vector<SmapsEntry>& entries) {
  const char* end = line.data() + line.size();
  uintptr_t first = 0, last = 0;
  const auto dash = std::from_chars(line.data(), end, first, 16);
  if (dash.ec == std::errc() && dash.ptr != end && *dash.ptr == '-') {
    if (std::from_chars(dash.ptr + 1, end, last, 16).ec != std::errc()) return;
    entries.push_back({first, last, 0, 0, 0, 0});
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || entries.empty()) return;
  const size_t digit = std::min(line.find_first_not_of(' ', colon + 1), line.size());
  int64_t kilobytes = 0;
  if (std::from_chars(line.data() + digit, end, kilobytes).ec != std::errc()) return;
  const std::string_view what = line.substr(0, colon);
  SmapsEntry& entry = entries.back();
  if (what == "Rss") entry.present = kilobytes << 10;
  if (what == "FilePmdMapped" || what == "ShmemPmdMapped") entry.huge_file += kilobytes << 10;
  if (what == "AnonHugePages") entry.huge_own = kilobytes << 10;
  if (what == "Locked") entry.locked = kilobytes << 10;
}

std::vector<SmapsEntry> read_smaps() {
  std::vector<SmapsEntry> entries;
  std::string text;
  try {
    text = read_kernel_file("/proc/self/smaps");
  } catch (const Error&) {  // no such file system mounted
  }
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t line = std::min(rest.find('\n'), rest.size() - 1);
    read_line(rest.substr(0, line), entries);
    rest.remove_prefix(line + 1);
  }
  return entries;
}

std::string reason(int error) { return std::generic_category().message(error); }
std::string gigabytes(double bytes) { return fmt::format("{:.2f} GB", bytes / 1e9); }

// Reads [offset, offset + bytes) of the file; 0, or what went wrong.
int read_at(int fd, std::byte* to, int64_t offset, int64_t bytes) {
  while (bytes > 0) {
    const ssize_t n = ::pread(fd, to, static_cast<size_t>(bytes), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return ENODATA;  // it became shorter
    to += n;
    offset += n;
    bytes -= n;
  }
  return 0;
}

// Why nothing more can be locked.
std::string lock_refusal(int error) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return reason(error);
  return fmt::format("RLIMIT_MEMLOCK allows {:.1f} MB", static_cast<double>(limit.rlim_cur) / 1e6);
}

// As much as may be locked without being root.
void raise_lock_limit() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_MEMLOCK, &limit);
}

}  // namespace

Residence residence_of(std::span<const Bytes> ranges) {
  const std::vector<SmapsEntry> entries = read_smaps();
  Residence sum;
  for (const Bytes& range : ranges) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(range.data()), end = begin + range.size();
    sum.bytes += static_cast<int64_t>(range.size());
    for (const SmapsEntry& e : entries) {
      const uintptr_t from = std::max(begin, e.begin), to = std::min(end, e.end);
      if (from >= to) continue;
      // A mapping may be larger than the range: as much as the range can have of it.
      const auto part = [&](int64_t bytes) { return std::min(bytes, static_cast<int64_t>(to - from)); };
      sum.present += part(e.present);
      sum.huge_file += part(e.huge_file);
      sum.huge_own += part(e.huge_own);
      sum.locked += part(e.locked);
    }
  }
  return sum;
}

Residence cached_part(const MappedFile& file) {
  const Bytes bytes = file.bytes();
  int64_t there = 0;
  for (size_t at = 0; at < bytes.size(); at += kHugePage) {
    const Bytes part = bytes.subspan(at, std::min(bytes.size() - at, static_cast<size_t>(kHugePage)));
    unsigned char cached = 0;
    if (::mincore(address(part), 1, &cached) != 0 || (cached & 1) == 0) continue;
    there += static_cast<int64_t>(part.size());
    [[maybe_unused]] const std::byte touched = *static_cast<const volatile std::byte*>(part.data());
  }
  Residence sum = residence_of({&bytes, 1});
  sum.present = there;
  return sum;
}

void prefer_huge_pages(Bytes mapped, bool wanted) {
  if (!mapped.empty()) ::madvise(address(mapped), mapped.size(), wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

void read_in(ThreadPool& pool, Bytes part, const BytesDone& done) {
  pool.for_each(static_cast<int64_t>(part.size()), kPiece, [&](int64_t begin, int64_t end, int) {
    const Bytes piece = part.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    // Before Linux 5.14 there was no such call; other failures are found again when the bytes are needed.
    if (::madvise(address(piece), piece.size(), MADV_POPULATE_READ) != 0 && errno == EINVAL) read_in(piece);
    if (done) done(end - begin);
  });
}

void forget(const MappedFile& file, Bytes part) {
  ::madvise(address(part), part.size(), MADV_DONTNEED);  // what is mapped cannot be dropped,
  ::fdatasync(file.descriptor());                        // nor what is not on the disk yet
  ::posix_fadvise(file.descriptor(), part.data() - file.bytes().data(), static_cast<off_t>(part.size()),
                  POSIX_FADV_DONTNEED);
}

void copy_file(ThreadPool& pool, const MappedFile& file, std::span<std::byte> to, bool leave_cache,
               const BytesDone& done) {
  MINKE_CHECK(to.size() >= file.bytes().size());
  std::atomic<int> failed = 0;
  pool.for_each(static_cast<int64_t>(file.bytes().size()), kPiece, [&](int64_t begin, int64_t end, int) {
    if (failed != 0) return;
    if (const int error = read_at(file.descriptor(), to.data() + begin, begin, end - begin)) failed = error;
    if (!leave_cache)
      forget(file, file.bytes().subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    if (done) done(end - begin);
  });
  if (failed == 0) return;
  throw Error(
      failed == ENODATA ? "became shorter while it was read" : fmt::format("cannot read: {}", reason(failed)),
      file.path().string());
}

void take_over(ThreadPool& pool, const MappedFile& file, const TakeOver& how) {
  const Bytes bytes = file.bytes();
  if (bytes.empty()) return;
  void* room =
      map_at_huge_page(bytes.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  if (room == MAP_FAILED)
    throw Error(fmt::format("no room for a copy of {}", gigabytes(static_cast<double>(bytes.size()))),
                file.path().string());
  const std::span<std::byte> copy(static_cast<std::byte*>(room), bytes.size());
  try {
    prefer_huge_pages(copy, how.huge);
    if (how.prepare) how.prepare(copy);
    copy_file(pool, file, copy, how.leave_cache, how.done);
    if (how.finish) how.finish(copy);
    ::mprotect(room, copy.size(), PROT_READ);
    if (::mremap(room, copy.size(), copy.size(), MREMAP_MAYMOVE | MREMAP_FIXED, address(bytes)) == MAP_FAILED)
      throw Error(fmt::format("cannot put a copy in its place: {}", reason(errno)), file.path().string());
  } catch (...) {
    ::munmap(room, copy.size());
    throw;
  }
}

void lock_in_memory(std::span<const Bytes> ranges) {
  raise_lock_limit();
  double all = 0;
  for (const Bytes& range : ranges) all += static_cast<double>(range.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].empty() || ::mlock2(ranges[i].data(), ranges[i].size(), MLOCK_ONFAULT) == 0) continue;
    const std::string refusal = lock_refusal(errno);
    for (size_t j = 0; j < i; ++j) ::munlock(ranges[j].data(), ranges[j].size());
    throw Error(fmt::format("cannot lock {} in memory: {}", gigabytes(all), refusal), "--lock",
                "`ulimit -l unlimited` raises it as root; else \"memlock\" in /etc/security/limits.conf, "
                "LimitMEMLOCK=infinity in a systemd unit, --ulimit memlock=-1 of a container");
  }
}

std::string huge_page_policy() {
  try {
    const std::string text = read_kernel_file("/sys/kernel/mm/transparent_hugepage/enabled");
    const size_t open = text.find('['), close = text.find(']');
    if (open < close && close != std::string::npos) return text.substr(open + 1, close - open - 1);
  } catch (const Error&) {  // a kernel without
  }
  return {};
}

}  // namespace minke

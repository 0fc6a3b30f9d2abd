#pragma once
// Cache pages on disk: one file each, found again after a restart (docs/page_files.md). Files that are
// damaged, or another model's, are never used.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "kv/page_key.h"

namespace minke {

struct DiskOptions {
  std::filesystem::path folder;
  int64_t budget = int64_t{16} << 30;  // bytes of all files together; the least recently used go first
  int64_t queue = int64_t{256} << 20;  // bytes that may wait to be written
};

struct DiskStats {
  int64_t pages = 0, bytes = 0;   // there
  int64_t written = 0, read = 0;  // pages, since the start
  int64_t evicted = 0;            // pages that had to make room
  int64_t discarded = 0;          // files that were damaged
  int64_t failed = 0;             // pages that could not be written
  std::string failure;            // the last reason
};

// One thread of its own writes. All calls may come from any thread.
class DiskPages {
 public:
  // Makes the folder, and looks which pages are there. Throws Error naming it where that cannot be done.
  DiskPages(DiskOptions options, PageKey identity, int64_t page_bytes);
  ~DiskPages();  // writes what waits

  bool has(const PageKey& key) const;
  // The page's rows into `rows` [page_bytes]; false, and the file removed, where it is not exactly this page.
  bool read(const PageKey& key, std::span<const int32_t> tokens, std::byte* rows);
  // Queues a page, which `fill` writes into the memory it is given. False where too much waits already; a
  // page that is there is not written again.
  bool write(const PageKey& key, std::span<const int32_t> tokens,
             const std::function<void(std::byte*)>& fill);
  void sync();  // returns when everything queued is on disk, or has failed
  DiskStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minke

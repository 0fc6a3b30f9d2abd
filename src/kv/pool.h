#pragma once
// The pages of the cache.

#include <cstdint>
#include <span>
#include <vector>

#include "base/memory.h"
#include "kv/layout.h"

namespace minke {

// Storage is layer-major: layer l keeps row i of page p at base(l) + (p * 64 + i) * row(l).bytes. One thread
// owns it.
class KvPool {
 public:
  KvPool(KvLayout layout, int pages);

  const KvRow& row(int layer) const { return layout_[static_cast<size_t>(layer)]; }
  std::byte* base(int layer) const { return bases_[static_cast<size_t>(layer)]; }
  std::byte* row_at(int layer, const KvView& view, int token) const;

  std::span<std::byte> storage() const { return {memory_.data(), static_cast<size_t>(memory_.size())}; }

  int pages() const { return pages_; }
  int free_pages() const { return static_cast<int>(free_.size()); }

  // A page may be held by several: views, and whoever keeps pages for later. It is free when nobody does.
  void share(int32_t page) { ++uses_[static_cast<size_t>(page)]; }
  void release(int32_t page);
  int uses(int32_t page) const { return uses_[static_cast<size_t>(page)]; }
  void copy_page(int32_t from, int32_t to);  // all rows of all layers
  // A shared page of the view becomes a copy of its own, so that the row of `token` can be written; a free
  // page must be there.
  void own(KvView& view, int token);
  // A page's rows, layer after layer, to and from page_bytes of memory.
  int64_t bytes_of_page() const { return page_bytes(layout_); }
  void save_page(int32_t page, std::byte* to) const;
  void load_page(int32_t page, const std::byte* from);

  // Gives the view pages enough for `tokens` tokens; false, and nothing changed, where too few are free. New
  // pages are zeros.
  bool reserve(KvView& view, int tokens);
  // Forgets what follows the first `tokens` tokens, and releases the pages that held nothing else.
  void truncate(KvView& view, int tokens);

 private:
  KvLayout layout_;
  int pages_;
  Memory memory_;
  std::vector<std::byte*> bases_;
  std::vector<int32_t> free_;  // the next to give out is the last
  std::vector<int> uses_;      // of each page
  std::vector<bool> used_before_;
};

}  // namespace minke

#pragma once
// Rows that were computed once, found again by the tokens they belong to: a tree of pages, each under the
// page before it. Running sequences share whole pages with it, and nobody writes to a shared page.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kv/pool.h"

namespace minke {

class PrefixTree {
 public:
  explicit PrefixTree(KvPool& pool);  // must outlive the tree
  ~PrefixTree();                      // does not touch the pool

  // The rows of as much of the beginning of `tokens` as is kept. Whole pages are shared; of a page that
  // agrees in part a copy is made, if there is room for it.
  KvView take(std::span<const int32_t> tokens);

  // Shares the whole pages of a sequence that goes on. tokens [view.length]. A page that is there already
  // stays as it is, and so does the sequence's own.
  void keep(std::span<const int32_t> tokens, const KvView& view);
  // Takes over what an ended sequence held, its last page too.
  void give(std::span<const int32_t> tokens, KvView view);

  // Gives pages back, least recently used first, until the pool has `pages` free ones; false where those that
  // are in use leave fewer.
  bool make_room(int pages);
  int pages() const;      // in the tree
  int evictable() const;  // of them, those that make_room could give back

 private:
  struct Node;
  Node* find(Node& parent, std::span<const int32_t> page) const;
  Node* containing(Node& parent, std::span<const int32_t> part) const;
  Node* insert(std::span<const int32_t> tokens, const KvView& view);
  void drop_parts(Node& parent, std::span<const int32_t> page);
  bool drop_oldest();

  KvPool& pool_;
  std::unique_ptr<Node> root_;
  uint64_t clock_ = 0;
};

}  // namespace minke

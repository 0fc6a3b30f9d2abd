#pragma once
// Rows that were computed once, found again by the tokens they belong to: a tree of pages, each under the
// page before it. Running sequences share whole pages with it, and nobody writes to a shared page.
// Whole pages go to disk as well, where there is one, and come back when they are asked for. Sequences of
// different salts share nothing.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kv/disk_pages.h"
#include "kv/pool.h"

namespace minke {

class PrefixTree {
 public:
  // Pool and disk must outlive the tree; identity is the disk's.
  explicit PrefixTree(KvPool& pool, DiskPages* disk = nullptr, std::string identity = {});
  ~PrefixTree();  // does not touch the pool

  // The rows of as much of the beginning of `tokens` as is kept. Whole pages are shared; of a page that
  // agrees in part a copy is made, if there is room for it.
  KvView take(std::span<const int32_t> tokens, const std::string& salt = {});

  // Shares the whole pages of a sequence that goes on. tokens [view.length]. A page that is there already
  // stays as it is, and so does the sequence's own.
  void keep(std::span<const int32_t> tokens, const KvView& view, const std::string& salt = {});
  // Takes over what an ended sequence held, its last page too.
  void give(std::span<const int32_t> tokens, KvView view, const std::string& salt = {});
  // Hands pages to the disk that it has not got yet, as many as it takes now.
  void spill();

  // Gives pages back, least recently used first, until the pool has `pages` free ones; false where those that
  // are in use leave fewer.
  bool make_room(int pages);
  int pages() const;      // in the tree
  int evictable() const;  // of them, those that make_room could give back

 private:
  struct Node;
  Node* find(Node& parent, std::span<const int32_t> page) const;
  Node* containing(Node& parent, std::span<const int32_t> part) const;
  Node& root(const std::string& salt);
  Node& add(Node& parent, std::span<const int32_t> tokens, int32_t page);
  Node* from_disk(Node& parent, std::span<const int32_t> tokens);
  bool store(Node& node);
  void insert(std::span<const int32_t> tokens, const KvView& view, const std::string& salt);
  void drop_parts(Node& parent, std::span<const int32_t> page);
  bool drop_oldest();

  KvPool& pool_;
  DiskPages* disk_;
  std::string identity_;
  std::map<std::string, std::unique_ptr<Node>> roots_;  // by salt
  uint64_t clock_ = 0;
};

}  // namespace minke

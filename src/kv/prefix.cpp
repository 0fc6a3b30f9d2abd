#include "kv/prefix.h"

#include <algorithm>

#include "base/error.h"

namespace minke {

struct PrefixTree::Node {
  std::vector<int32_t> tokens;  // of the page: kPageTokens, fewer at the end of a sequence. The root has none
  int32_t page = -1;
  Node* parent = nullptr;
  uint64_t used = 0;  // when it was last taken or kept
  std::vector<std::unique_ptr<Node>> children;
  PageKey key;          // where there is a disk
  bool stored = false;  // there, or on the way

  bool whole() const { return tokens.size() == kPageTokens; }
};

namespace {

size_t common_beginning(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t n = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<int64_t>(n), b.begin()).first -
                             a.begin());
}

// f(node) for every node below, children before their parent.
template <typename Node, typename F>
void visit(Node& node, const F& f) {
  for (auto& child : node.children) {
    visit(*child, f);
    f(*child);
  }
}

// Adds the pages below that nobody else uses; false where some are in use.
template <typename Node>
bool count_unused(const Node& node, const KvPool& pool, int& count) {
  bool all = true;
  for (const auto& child : node.children) {
    const bool below = count_unused(*child, pool, count), unused = pool.uses(child->page) == 1;
    count += below && unused;
    all = all && below && unused;
  }
  return all;
}

}  // namespace

PrefixTree::PrefixTree(KvPool& pool, DiskPages* disk, std::string identity)
    : pool_(pool), disk_(disk), identity_(std::move(identity)) {}
PrefixTree::~PrefixTree() = default;

PrefixTree::Node& PrefixTree::root(const std::string& salt) {
  std::unique_ptr<Node>& node = roots_[salt];
  if (!node) {
    node = std::make_unique<Node>();
    node->key = first_key(identity_, salt);
  }
  return *node;
}

// A child that holds the page, which has one holder more from now on.
PrefixTree::Node& PrefixTree::add(Node& parent, std::span<const int32_t> tokens, int32_t page) {
  drop_parts(parent, tokens);
  Node& node = *parent.children.emplace_back(std::make_unique<Node>());
  node.tokens.assign(tokens.begin(), tokens.end());
  node.page = page;
  node.parent = &parent;
  if (disk_ && node.whole()) node.key = next_key(parent.key, tokens);
  pool_.share(page);
  return node;
}

// The page behind the parent's, read into a free one; null where it is not there.
PrefixTree::Node* PrefixTree::from_disk(Node& parent, std::span<const int32_t> tokens) {
  const PageKey key = next_key(parent.key, tokens);
  if (!disk_->has(key) || !make_room(1)) return nullptr;
  std::vector<std::byte> rows(static_cast<size_t>(pool_.bytes_of_page()));
  if (!disk_->read(key, tokens, rows.data())) return nullptr;
  KvView one;
  MINKE_CHECK(pool_.reserve(one, kPageTokens));
  pool_.load_page(one.pages[0], rows.data());
  Node& node = add(parent, tokens, one.pages[0]);
  node.stored = true;
  pool_.release(one.pages[0]);
  return &node;
}

// False where the disk takes no more now.
bool PrefixTree::store(Node& node) {
  if (!node.stored && node.whole())
    node.stored = disk_->write(node.key, node.tokens, [&](std::byte* to) { pool_.save_page(node.page, to); });
  return node.stored || !node.whole();
}

void PrefixTree::spill() {
  std::erase_if(roots_, [](const auto& r) { return r.second->children.empty(); });
  if (!disk_) return;
  bool more = true;
  for (auto& [salt, root] : roots_)
    visit(*root, [&](Node& node) {
      if (more) more = store(node);
    });
}

PrefixTree::Node* PrefixTree::find(Node& parent, std::span<const int32_t> page) const {
  for (const auto& child : parent.children)
    if (std::ranges::equal(child->tokens, page)) return child.get();
  return nullptr;
}

PrefixTree::Node* PrefixTree::containing(Node& parent, std::span<const int32_t> part) const {
  for (const auto& child : parent.children)
    if (common_beginning(child->tokens, part) == part.size()) return child.get();
  return nullptr;
}

KvView PrefixTree::take(std::span<const int32_t> tokens, const std::string& salt) {
  KvView view;
  Node* node = &root(salt);
  ++clock_;
  while (tokens.size() >= kPageTokens) {
    const auto page = tokens.first(kPageTokens);
    Node* next = find(*node, page);
    if (!next && disk_) next = from_disk(*node, page);
    if (!next) break;
    next->used = clock_;
    pool_.share(next->page);
    view.pages.push_back(next->page);
    view.length += kPageTokens;
    tokens = tokens.subspan(kPageTokens);
    node = next;
  }
  Node* best = nullptr;
  size_t most = 0;
  for (const auto& child : node->children) {
    const size_t n = common_beginning(child->tokens, tokens);
    if (n > most) most = n, best = child.get();
  }
  if (!best) return view;
  best->used = clock_;
  pool_.share(best->page);  // it must not be what makes room for its copy
  if (make_room(1)) {
    MINKE_CHECK(pool_.reserve(view, view.length + 1));
    pool_.copy_page(best->page, view.pages.back());
    view.length += static_cast<int>(most);
  }
  pool_.release(best->page);
  return view;
}

// Parts of a page that `page` contains are not worth their place any more.
void PrefixTree::drop_parts(Node& parent, std::span<const int32_t> page) {
  std::erase_if(parent.children, [&](const auto& child) {
    const bool part = child->tokens.size() < page.size() && child->children.empty() &&
                      common_beginning(child->tokens, page) == child->tokens.size() &&
                      pool_.uses(child->page) == 1;
    if (part) pool_.release(child->page);
    return part;
  });
}

// Nodes for all tokens, as far as they are not there.
void PrefixTree::insert(std::span<const int32_t> tokens, const KvView& view, const std::string& salt) {
  Node* node = &root(salt);
  ++clock_;
  for (size_t i = 0; !tokens.empty(); ++i) {
    const auto page = tokens.first(std::min<size_t>(tokens.size(), kPageTokens));
    Node* next = page.size() < kPageTokens ? containing(*node, page) : find(*node, page);
    if (!next) next = &add(*node, page, view.pages[i]);
    next->used = clock_;
    node = next;
    tokens = tokens.subspan(page.size());
  }
}

void PrefixTree::keep(std::span<const int32_t> tokens, const KvView& view, const std::string& salt) {
  MINKE_CHECK(static_cast<int>(tokens.size()) == view.length);
  insert(tokens.first(tokens.size() / kPageTokens * kPageTokens), view, salt);
}

void PrefixTree::give(std::span<const int32_t> tokens, KvView view, const std::string& salt) {
  MINKE_CHECK(static_cast<int>(tokens.size()) == view.length);
  insert(tokens, view, salt);
  pool_.truncate(view, 0);
}

bool PrefixTree::drop_oldest() {
  Node* oldest = nullptr;
  for (auto& [salt, root] : roots_)
    visit(*root, [&](Node& node) {
      if (node.children.empty() && pool_.uses(node.page) == 1 && (!oldest || node.used < oldest->used))
        oldest = &node;
    });
  if (!oldest) return false;
  if (disk_) store(*oldest);
  pool_.release(oldest->page);
  std::erase_if(oldest->parent->children, [&](const auto& child) { return child.get() == oldest; });
  return true;
}

bool PrefixTree::make_room(int pages) {
  while (pool_.free_pages() < pages)
    if (!drop_oldest()) return false;
  return true;
}

int PrefixTree::pages() const {
  int count = 0;
  for (const auto& [salt, root] : roots_) visit(*root, [&](const Node&) { ++count; });
  return count;
}

int PrefixTree::evictable() const {
  int count = 0;
  for (const auto& [salt, root] : roots_) count_unused(*root, pool_, count);
  return count;
}

}  // namespace minke

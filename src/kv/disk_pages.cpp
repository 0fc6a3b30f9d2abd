#include "kv/disk_pages.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "kv/layout.h"
#include "kv/pool.h"

namespace minke {
namespace {

constexpr char kMagic[8] = {'M', 'i', 'n', 'k', 'e', 'P', 'g', '1'};
constexpr std::string_view kExtension = ".page";

// The beginning of a file; the rows follow.
struct Header {
  char magic[8];
  PageKey identity, key;
  int64_t row_bytes;
  int32_t tokens[kPageTokens];
  Hash128 checksum;  // of the header with this field zero, and of the rows
};
static_assert(sizeof(Header) == 8 + 16 + 16 + 8 + 4 * kPageTokens + 16);

Hash128 checksum(Header header, Bytes rows) {
  header.checksum = {};
  Hasher128 hasher;
  hasher.add(std::as_bytes(std::span(&header, 1)));
  hasher.add(rows);
  return hasher.hash();
}

}  // namespace

struct DiskPages::Impl {
  Impl(DiskOptions o, PageKey i, int64_t bytes) : options(std::move(o)), identity(i), page_bytes(bytes) {
    std::error_code failed;
    fs::create_directories(options.folder, failed);
    if (failed) throw Error(failed.message(), options.folder.string(), "the cache of pages needs a folder");
    look_around();
    thread = std::thread([this] { run(); });
  }

  ~Impl() {
    {
      std::lock_guard lock(mutex);
      ending = true;
    }
    wake.notify_all();
    thread.join();
  }

  struct Entry {
    int64_t bytes = 0;
    uint64_t used = 0;
  };
  struct Waiting {
    PageKey key;
    std::vector<std::byte> file;
  };

  fs::path path_of(const PageKey& key) const {
    const std::string name = hex(key);
    return options.folder / name.substr(0, 2) / (name + std::string(kExtension));
  }

  // What is there already, in the order of its last use; what a broken run left half written goes.
  void look_around() {
    std::vector<std::pair<fs::file_time_type, PageKey>> found;
    std::error_code failed;
    for (auto it = fs::recursive_directory_iterator(options.folder, failed);
         !failed && it != fs::recursive_directory_iterator(); it.increment(failed)) {
      std::error_code unknown;
      const fs::path& path = it->path();
      const auto size = it->file_size(unknown);
      const auto time = it->last_write_time(unknown);
      if (unknown || !it->is_regular_file(unknown)) continue;
      PageKey key;
      if (path.extension() == kExtension && from_hex(path.stem().string(), key)) {
        found.push_back({time, key});
        entries[key].bytes = static_cast<int64_t>(size);
        total += static_cast<int64_t>(size);
      } else if (path.filename().string().find(".partial-") != std::string::npos &&
                 fs::file_time_type::clock::now() - time > std::chrono::hours(1)) {
        fs::remove(path, unknown);
      }
    }
    if (failed) throw Error(failed.message(), options.folder.string());
    std::sort(found.begin(), found.end());
    for (const auto& f : found) entries[f.second].used = ++clock;
  }

  // ---- under the mutex

  void forget(PageKey key) {  // a copy: the entry that has it goes
    const auto it = entries.find(key);
    if (it == entries.end()) return;
    total -= it->second.bytes;
    entries.erase(it);
    std::error_code unknown;
    fs::remove(path_of(key), unknown);
  }

  void make_room(int64_t bytes) {
    while (total + bytes > options.budget && !entries.empty()) {
      const auto oldest = std::min_element(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return a.second.used < b.second.used;
      });
      forget(oldest->first);
      ++counts.evicted;
    }
  }

  // ---- the thread that writes

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return ending || !waiting.empty(); });
      if (waiting.empty()) return;
      const Waiting& page = waiting.front();
      const auto bytes = static_cast<int64_t>(page.file.size());
      if (bytes <= options.budget) {
        make_room(bytes);
        lock.unlock();
        const std::string failure = put(page);
        lock.lock();
        if (failure.empty()) {
          entries[page.key] = {bytes, ++clock};
          total += bytes;
          ++counts.written;
        } else {
          ++counts.failed;
          counts.failure = failure;
        }
      }
      queued -= bytes;
      waiting.pop_front();
      if (waiting.empty()) idle.notify_all();
    }
  }

  std::string put(const Waiting& page) const {
    try {
      const fs::path path = path_of(page.key);
      std::error_code unknown;
      fs::create_directories(path.parent_path(), unknown);
      AtomicFile file(path);
      file.write(page.file);
      file.commit();
      return {};
    } catch (const std::exception& e) {
      return e.what();
    }
  }

  DiskOptions options;
  PageKey identity;
  int64_t page_bytes;

  mutable std::mutex mutex;
  std::condition_variable wake, idle;
  std::map<PageKey, Entry> entries;
  std::deque<Waiting> waiting;  // the front one is being written
  int64_t total = 0, queued = 0;
  uint64_t clock = 0;
  DiskStats counts;
  bool ending = false;
  std::thread thread;
};

DiskPages::DiskPages(DiskOptions options, PageKey identity, int64_t page_bytes)
    : impl_(std::make_unique<Impl>(std::move(options), identity, page_bytes)) {}
DiskPages::~DiskPages() = default;

bool DiskPages::has(const PageKey& key) const {
  std::lock_guard lock(impl_->mutex);
  return impl_->entries.contains(key);
}

bool DiskPages::read(const PageKey& key, std::span<const int32_t> tokens, std::byte* rows) {
  if (!has(key)) return false;
  const fs::path path = impl_->path_of(key);
  const auto bytes = static_cast<size_t>(impl_->page_bytes);
  bool right = false;
  try {
    const std::string file = read_file(path, sizeof(Header) + bytes);
    Header header;
    if (file.size() == sizeof header + bytes && tokens.size() == kPageTokens) {
      std::memcpy(&header, file.data(), sizeof header);
      const Bytes content = as_bytes(file).subspan(sizeof header);
      right = std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 && header.identity == impl_->identity &&
              header.key == key && header.row_bytes == impl_->page_bytes &&
              std::ranges::equal(header.tokens, tokens) && header.checksum == checksum(header, content);
      if (right) std::memcpy(rows, content.data(), bytes);
    }
  } catch (const Error&) {  // gone, or unreadable: as good as damaged
  }
  std::lock_guard lock(impl_->mutex);
  if (!right) {
    impl_->forget(key);
    ++impl_->counts.discarded;
    return false;
  }
  const auto it = impl_->entries.find(key);
  if (it != impl_->entries.end()) it->second.used = ++impl_->clock;
  std::error_code unknown;  // the order of use, for the next start
  fs::last_write_time(path, fs::file_time_type::clock::now(), unknown);
  ++impl_->counts.read;
  return true;
}

bool DiskPages::write(const PageKey& key, std::span<const int32_t> tokens,
                      const std::function<void(std::byte*)>& fill) {
  MINKE_CHECK(tokens.size() == kPageTokens);
  const auto bytes = sizeof(Header) + static_cast<size_t>(impl_->page_bytes);
  {
    std::lock_guard lock(impl_->mutex);
    const auto same = [&](const Impl::Waiting& w) { return w.key == key; };
    if (impl_->entries.contains(key) || std::ranges::any_of(impl_->waiting, same)) return true;
    if (impl_->queued + static_cast<int64_t>(bytes) > impl_->options.queue) return false;
    impl_->queued += static_cast<int64_t>(bytes);
  }
  Impl::Waiting page{key, std::vector<std::byte>(bytes)};
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.identity = impl_->identity;
  header.key = key;
  header.row_bytes = impl_->page_bytes;
  std::ranges::copy(tokens, header.tokens);
  fill(page.file.data() + sizeof header);
  header.checksum = checksum(header, std::span(page.file).subspan(sizeof header));
  std::memcpy(page.file.data(), &header, sizeof header);
  {
    std::lock_guard lock(impl_->mutex);
    impl_->waiting.push_back(std::move(page));
  }
  impl_->wake.notify_all();
  return true;
}

void DiskPages::sync() {
  std::unique_lock lock(impl_->mutex);
  impl_->idle.wait(lock, [&] { return impl_->waiting.empty(); });
}

DiskStats DiskPages::stats() const {
  std::lock_guard lock(impl_->mutex);
  DiskStats s = impl_->counts;
  s.pages = static_cast<int64_t>(impl_->entries.size());
  s.bytes = impl_->total;
  return s;
}

}  // namespace minke

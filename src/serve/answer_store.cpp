#include "serve/answer_store.h"

#include <condition_variable>
#include <cstring>
#include <ctime>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "serve/sqlite.h"

namespace minke {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS answers (key TEXT NOT NULL, prompt TEXT NOT NULL, prompt_bytes INTEGER NOT "
    "NULL, tokens BLOB NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (key, prompt)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS answers_used ON answers (used);";
constexpr int kMostPrompts = 16;                       // of one answer: "Done." is said to many
constexpr size_t kMostWaiting = 1024;                  // answers to be written; further ones are let go
constexpr int64_t kUsedSeconds = 600;                  // that `used` may be behind
constexpr const char* kSize = "length(tokens) + 200";  // of a row, about

int64_t now() { return static_cast<int64_t>(std::time(nullptr)); }

std::string_view bytes_of(const std::vector<Token>& tokens) {
  return {reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(Token)};
}

std::vector<Token> tokens_of(const std::string& bytes) {
  std::vector<Token> tokens(bytes.size() / sizeof(Token));
  std::memcpy(tokens.data(), bytes.data(), tokens.size() * sizeof(Token));
  return tokens;
}

// A file that is damaged is made anew: it only saves work.
std::unique_ptr<Database> open(const fs::path& file) {
  try {
    return std::make_unique<Database>(file, kSchema);
  } catch (const Error&) {
    if (!fs::is_regular_file(file)) throw;
  }
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(file.string() + suffix);
  return std::make_unique<Database>(file, kSchema);
}

}  // namespace

struct AnswerStore::Impl {
  struct Entry {
    std::string key;
    KeptAnswer answer;
  };

  Impl(const fs::path& file, int64_t most) : database(open(file)), budget(most) {
    thread = std::thread([this] { run(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    changed.notify_all();
    thread.join();
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return ending || !waiting.empty(); });
      if (waiting.empty()) return;
      const Entry entry = waiting.front();  // stays there to be found until it is in the file
      lock.unlock();
      try {
        const std::lock_guard file_lock(db_mutex);
        write(entry);
      } catch (const Error&) {
        // A full disk, say: that answer will be tokenised anew.
      }
      lock.lock();
      waiting.pop_front();
      changed.notify_all();
    }
  }

  void write(const Entry& entry) {
    Statement insert(db, "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)");
    insert.bind(1, entry.key);
    insert.bind(2, entry.answer.prompt_key);
    insert.bind(3, static_cast<int64_t>(entry.answer.prompt_bytes));
    insert.bind_bytes(4, bytes_of(entry.answer.tokens));
    insert.bind(5, now());
    insert.step();
    if (!used || *used > budget)
      make_room();
    else
      *used += static_cast<int64_t>(bytes_of(entry.answer.tokens).size()) + 200;
  }

  // A tenth more than is needed, so that it is not done each time. Other servers may write to the file too.
  void make_room() {
    const auto size = [&] {
      Statement sum(db, fmt::format("SELECT total({}) FROM answers", kSize).c_str());
      sum.step();
      return sum.number(0);
    };
    for (used = size(); *used > budget; used = size()) {
      Statement old(
          db,
          "DELETE FROM answers WHERE (key, prompt) IN (SELECT key, prompt FROM answers ORDER BY used "
          "LIMIT (SELECT 1 + count(*) / 10 FROM answers))");
      old.step();
    }
  }

  void read(const std::string& key, std::vector<KeptAnswer>& found) {
    const std::lock_guard lock(db_mutex);
    Statement select(db,
                     "SELECT prompt_bytes, prompt, tokens, used FROM answers WHERE key = ? ORDER BY used "
                     "DESC LIMIT ?");
    select.bind(1, key);
    select.bind(2, int64_t{kMostPrompts});
    bool stale = false;
    while (select.step()) {
      stale |= select.number(3) < now() - kUsedSeconds;
      found.push_back({static_cast<size_t>(select.number(0)), select.bytes(1), tokens_of(select.bytes(2))});
    }
    if (!stale) return;
    Statement touch(db, "UPDATE answers SET used = ? WHERE key = ?");
    touch.bind(1, now());
    touch.bind(2, key);
    touch.step();
  }

  const std::unique_ptr<Database> database;
  Database& db = *database;
  std::mutex db_mutex;  // of db and used
  std::optional<int64_t> used;
  const int64_t budget;

  std::mutex mutex;  // of all below
  std::condition_variable changed;
  std::deque<Entry> waiting;
  bool ending = false;
  std::thread thread;
};

AnswerStore::AnswerStore(const fs::path& file, int64_t budget)
    : impl_(std::make_unique<Impl>(file, budget)) {}
AnswerStore::~AnswerStore() = default;

void AnswerStore::keep(const std::string& key, KeptAnswer answer) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->waiting.size() >= kMostWaiting) return;
    impl_->waiting.push_back({key, std::move(answer)});
  }
  impl_->changed.notify_all();
}

std::vector<KeptAnswer> AnswerStore::find(const std::string& key) {
  std::vector<KeptAnswer> found;
  {
    const std::lock_guard lock(impl_->mutex);
    for (auto it = impl_->waiting.rbegin(); it != impl_->waiting.rend(); ++it)
      if (it->key == key) found.push_back(it->answer);
  }
  try {
    impl_->read(key, found);
  } catch (const Error&) {
    // The file is gone bad: what is not found is tokenised anew.
  }
  return found;
}

void AnswerStore::sync() {
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait(lock, [&] { return impl_->waiting.empty(); });
}

}  // namespace minke

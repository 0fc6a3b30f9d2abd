#include "serve/response_store.h"

#include <ctime>
#include <mutex>
#include <sqlite3.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS responses (id TEXT PRIMARY KEY, owner TEXT NOT NULL, created INTEGER NOT "
    "NULL, "
    "response TEXT NOT NULL, messages TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS responses_created ON responses (created);";
constexpr int64_t kKeptSeconds = int64_t{30} * 24 * 3600;  // as long as OpenAI keeps them

}  // namespace

struct ResponseStore::Impl {
  explicit Impl(const fs::path& path) : name(path.empty() ? ":memory:" : path.string()) {
    if (sqlite3_open(name.c_str(), &db) != SQLITE_OK) {
      const std::string why = sqlite3_errmsg(db);
      sqlite3_close(db);
      throw Error(why, name);
    }
    try {
      sqlite3_busy_timeout(db, 5000);
      run("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
      run(kSchema);
      if (!path.empty()) fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    } catch (...) {
      sqlite3_close(db);
      throw;
    }
  }
  ~Impl() { sqlite3_close(db); }

  [[noreturn]] void failed() const { throw Error(sqlite3_errmsg(db), name); }
  void run(const char* sql) {
    if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) failed();
  }

  const std::string name;
  sqlite3* db = nullptr;
  std::mutex mutex;
};

namespace {

// A statement with its values, for as long as its rows are read.
class Statement {
 public:
  template <typename Impl>
  Statement(Impl& store, const char* sql) {
    if (sqlite3_prepare_v2(store.db, sql, -1, &statement_, nullptr) != SQLITE_OK) store.failed();
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  void bind(int at, const std::string& text) {
    sqlite3_bind_text(statement_, at, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
  }
  void bind(int at, int64_t number) { sqlite3_bind_int64(statement_, at, number); }
  int step() { return sqlite3_step(statement_); }
  std::string text(int column) const {
    const void* bytes = sqlite3_column_blob(statement_, column);
    const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column));
    return bytes ? std::string(static_cast<const char*>(bytes), size) : std::string();
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
};

}  // namespace

ResponseStore::ResponseStore(const fs::path& file) : impl_(std::make_unique<Impl>(file)) {}
ResponseStore::~ResponseStore() = default;

void ResponseStore::put(const StoredResponse& stored) {
  const std::lock_guard lock(impl_->mutex);
  const auto now = static_cast<int64_t>(std::time(nullptr));
  Statement old(*impl_, "DELETE FROM responses WHERE created < ?");
  old.bind(1, now - kKeptSeconds);
  if (old.step() != SQLITE_DONE) impl_->failed();
  Statement insert(*impl_, "INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?)");
  insert.bind(1, stored.id);
  insert.bind(2, stored.owner);
  insert.bind(3, now);
  insert.bind(4, to_string(stored.response));
  insert.bind(5, to_string(stored.messages));
  if (insert.step() != SQLITE_DONE) impl_->failed();
}

std::optional<StoredResponse> ResponseStore::get(const std::string& id, const std::string& owner) {
  const std::lock_guard lock(impl_->mutex);
  Statement select(*impl_, "SELECT response, messages FROM responses WHERE id = ? AND owner = ?");
  select.bind(1, id);
  select.bind(2, owner);
  const int result = select.step();
  if (result == SQLITE_DONE) return std::nullopt;
  if (result != SQLITE_ROW) impl_->failed();
  JsonLimits limits;
  limits.max_depth = 512;  // what was taken in, and a little around it
  return StoredResponse{id, owner, parse_json(select.text(0), limits), parse_json(select.text(1), limits)};
}

bool ResponseStore::remove(const std::string& id, const std::string& owner) {
  const std::lock_guard lock(impl_->mutex);
  Statement remove(*impl_, "DELETE FROM responses WHERE id = ? AND owner = ?");
  remove.bind(1, id);
  remove.bind(2, owner);
  if (remove.step() != SQLITE_DONE) impl_->failed();
  return sqlite3_changes(impl_->db) > 0;
}

}  // namespace minke

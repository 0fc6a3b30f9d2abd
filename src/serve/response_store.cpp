#include "serve/response_store.h"

#include <ctime>
#include <mutex>

#include "serve/sqlite.h"

namespace minke {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS responses (id TEXT PRIMARY KEY, owner TEXT NOT NULL, created INTEGER NOT "
    "NULL, "
    "response TEXT NOT NULL, messages TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS responses_created ON responses (created);";
constexpr const char* kSize = "SELECT total(length(response) + length(messages)) FROM responses";
constexpr int64_t kKeptSeconds = int64_t{30} * 24 * 3600;  // as long as OpenAI keeps them

}  // namespace

struct ResponseStore::Impl {
  Impl(const fs::path& file, int64_t most) : db(file, kSchema), budget(file.empty() ? most : INT64_MAX) {}

  // In memory the oldest make room, a tenth of all at a time.
  void make_room() {
    while (used > budget) {
      Statement old(db,
                    "DELETE FROM responses WHERE id IN (SELECT id FROM responses ORDER BY created LIMIT "
                    "(SELECT 1 + count(*) / 10 FROM responses))");
      old.step();
      Statement size(db, kSize);
      size.step();
      used = size.number(0);
    }
  }

  Database db;
  const int64_t budget;
  int64_t used = 0;  // bytes, where there is a budget
  std::mutex mutex;
};

ResponseStore::ResponseStore(const fs::path& file, int64_t budget)
    : impl_(std::make_unique<Impl>(file, budget)) {}
ResponseStore::~ResponseStore() = default;

void ResponseStore::put(const StoredResponse& stored) {
  const std::lock_guard lock(impl_->mutex);
  const auto now = static_cast<int64_t>(std::time(nullptr));
  Statement old(impl_->db, "DELETE FROM responses WHERE created < ?");
  old.bind(1, now - kKeptSeconds);
  old.step();
  Statement insert(impl_->db, "INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?)");
  insert.bind(1, stored.id);
  insert.bind(2, stored.owner);
  insert.bind(3, now);
  const std::string response = to_string(stored.response), messages = to_string(stored.messages);
  insert.bind(4, response);
  insert.bind(5, messages);
  insert.step();
  impl_->used += static_cast<int64_t>(response.size() + messages.size());
  impl_->make_room();
}

std::optional<StoredResponse> ResponseStore::get(const std::string& id, const std::string& owner) {
  const std::lock_guard lock(impl_->mutex);
  Statement select(impl_->db, "SELECT response, messages FROM responses WHERE id = ? AND owner = ?");
  select.bind(1, id);
  select.bind(2, owner);
  if (!select.step()) return std::nullopt;
  JsonLimits limits;
  limits.max_depth = 512;  // what was taken in, and a little around it
  return StoredResponse{id, owner, parse_json(select.bytes(0), limits), parse_json(select.bytes(1), limits)};
}

bool ResponseStore::remove(const std::string& id, const std::string& owner) {
  const std::lock_guard lock(impl_->mutex);
  Statement remove(impl_->db, "DELETE FROM responses WHERE id = ? AND owner = ?");
  remove.bind(1, id);
  remove.bind(2, owner);
  remove.step();
  return impl_->db.changed() > 0;
}

}  // namespace minke

#pragma once
// SQLite, as far as the server needs it. Included by the files of stores only.

#include <sqlite3.h>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"

namespace minke {

// A file that its owner alone can read, or one in memory.
class Database {
 public:
  // Throws Error naming the file, as all here do.
  Database(const fs::path& path, const char* schema) : name_(path.empty() ? ":memory:" : path.string()) {
    if (sqlite3_open(name_.c_str(), &db_) != SQLITE_OK) {
      const std::string why = sqlite3_errmsg(db_);
      sqlite3_close(db_);
      throw Error(why, name_);
    }
    try {
      sqlite3_busy_timeout(db_, 5000);
      run("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
      run(schema);
      if (!path.empty()) fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    } catch (...) {
      sqlite3_close(db_);
      throw;
    }
  }
  ~Database() { sqlite3_close(db_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  [[noreturn]] void failed() const { throw Error(sqlite3_errmsg(db_), name_); }
  void run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) failed();
  }
  int changed() const { return sqlite3_changes(db_); }

 private:
  friend class Statement;
  const std::string name_;
  sqlite3* db_ = nullptr;
};

// A statement with its values, for as long as its rows are read.
class Statement {
 public:
  Statement(Database& database, const char* sql) : database_(database) {
    if (sqlite3_prepare_v2(database.db_, sql, -1, &statement_, nullptr) != SQLITE_OK) database.failed();
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  void bind(int at, std::string_view text) {
    sqlite3_bind_text(statement_, at, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
  }
  void bind_bytes(int at, std::string_view bytes) {
    sqlite3_bind_blob(statement_, at, bytes.data(), static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
  }
  void bind(int at, int64_t number) { sqlite3_bind_int64(statement_, at, number); }
  // Whether there is a (further) row.
  bool step() {
    const int result = sqlite3_step(statement_);
    if (result != SQLITE_ROW && result != SQLITE_DONE) database_.failed();
    return result == SQLITE_ROW;
  }
  void again() { sqlite3_reset(statement_); }
  int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string bytes(int column) const {
    const void* data = sqlite3_column_blob(statement_, column);
    const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column));
    return data ? std::string(static_cast<const char*>(data), size) : std::string();
  }

 private:
  Database& database_;
  sqlite3_stmt* statement_ = nullptr;
};

}  // namespace minke

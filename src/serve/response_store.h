#pragma once
// Answers that may be referred to later (previous_response_id), in SQLite: they outlive a restart.

#include <memory>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/json.h"

namespace minke {

struct StoredResponse {
  std::string id;
  std::string owner;  // the name of the key it was asked with; nobody else sees it
  Json response;      // as the client got it
  Json messages;      // the conversation with the answer, as the chat format takes it
};

// Any thread may call. All throw Error naming the file.
class ResponseStore {
 public:
  // file: empty: in memory, at most `budget` bytes, the oldest going first.
  explicit ResponseStore(const fs::path& file, int64_t budget = int64_t{256} << 20);
  ~ResponseStore();

  void put(const StoredResponse& stored);
  std::optional<StoredResponse> get(const std::string& id, const std::string& owner);
  bool remove(const std::string& id, const std::string& owner);  // whether it was there

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minke

#pragma once
// Kept answers in SQLite: they outlive a restart, as the pages of the cache do that they lead to.

#include <memory>
#include <string>
#include <vector>

#include "api/kept_answer.h"
#include "base/file.h"

namespace minke {

constexpr int64_t kAnswerBytes = int64_t{64} << 20;  // of tokens: those used least recently go first

// A thread of its own writes. What goes wrong with the file costs the answers in it, and nothing else.
class AnswerStore final : public AnswerKeeper {
 public:
  // Empty: in memory. Throws Error naming the file where there can be none.
  explicit AnswerStore(const fs::path& file, int64_t budget = kAnswerBytes);
  ~AnswerStore() override;  // writes what waits

  void keep(const std::string& key, KeptAnswer answer) override;
  std::vector<KeptAnswer> find(const std::string& key) override;
  void sync();  // returns when everything that was kept is in the file

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minke

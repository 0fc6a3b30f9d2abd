#pragma once
// Documents of a data set in the making: tokenised, in the order they were read, in a file until their final
// order is known.

#include <cstdint>
#include <fstream>
#include <span>
#include <vector>

#include "base/file.h"
#include "base/hash128.h"
#include "train/chat_text.h"
#include "train/shards.h"

namespace minke {

class Spool {
 public:
  struct Entry {
    uint64_t begin = 0;   // in tokens
    uint32_t tokens = 0;  // at least 1
    uint64_t key = 0;     // documents of one key are held out together or not at all
  };

  explicit Spool(fs::path path);  // throws Error naming it
  ~Spool();                       // removes the file
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  void add(const LearnedTokens& document, uint64_t key);
  void close();  // no more documents
  const std::vector<Entry>& entries() const { return entries_; }
  Hash128 hash() const;                                       // of all tokens and their borders
  bool all_learned() const { return all_learned_; }           // no document has a mask
  void append_to(ShardContent& content, size_t entry) const;  // after close()

 private:
  fs::path path_;
  std::ofstream out_;
  MappedFile file_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> buffer_;  // of one document
  uint64_t tokens_ = 0;
  Hash128 hash_;
  bool all_learned_ = true;
};

}  // namespace minke

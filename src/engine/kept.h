#pragma once
// The cache pages of conversations that ended, kept as long as nobody else needs them.

#include <list>
#include <vector>

#include "kv/pool.h"
#include "text/token.h"

namespace minke {

class Kept {
 public:
  // Takes the pages of a finished sequence; tokens are those whose rows are there.
  void keep(KvPool& pool, std::vector<Token> tokens, KvView view);
  // The pages that share the longest beginning with `tokens`, cut down to it, if it is at least a page long;
  // else an empty view.
  KvView take(KvPool& pool, const std::vector<Token>& tokens);
  // Gives up the oldest; false where there is none.
  bool drop_oldest(KvPool& pool);
  int pages() const;

 private:
  struct Entry {
    std::vector<Token> tokens;
    KvView view;
  };
  std::list<Entry> entries_;  // oldest first
};

}  // namespace minke

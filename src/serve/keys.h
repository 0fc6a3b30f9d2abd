#pragma once
// API keys: a file of names and SHA-256 hashes, so that who reads it cannot use them.

#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace minke {

// A line of the file: "NAME SHA256 [parallel=N]"; blank lines and those that begin with # are none.
struct ApiKey {
  std::string name;
  std::array<unsigned char, 32> hash{};
  int parallel = 0;  // requests of its owner at once; 0: no limit of its own
};

std::vector<ApiKey> parse_keys(std::string_view text);  // throws Error naming the line
std::array<unsigned char, 32> sha256(std::string_view text);

class KeyRing {
 public:
  // Without a file every request is let in. Throws Error naming the file, where it has no key at all as well.
  explicit KeyRing(fs::path file);
  void reload();  // throws the same, and keeps the keys it has
  bool asks() const { return !file_.empty(); }
  // The key that this is. Takes the same time for any wrong one.
  std::optional<ApiKey> find(std::string_view given) const;

 private:
  const fs::path file_;
  mutable std::mutex mutex_;
  std::vector<ApiKey> keys_;
};

}  // namespace minke

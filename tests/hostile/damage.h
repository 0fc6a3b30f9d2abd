#pragma once
// Files damaged in place: bits turned, ends cut off. What reads them must take them or refuse them with an
// Error that says where the fault is.

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/random.h"

namespace minke {

// Rounds per sample: MINKE_HOSTILE_ROUNDS, or 40.
int hostile_rounds();

// A folder in memory, if the system has one, that goes away.
class ScratchFolder {
 public:
  ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder();

  const fs::path& path() const { return path_; }
  fs::path operator/(std::string_view name) const { return path_ / name; }
  void write(std::string_view name, std::string_view text) const;

 private:
  fs::path path_;
};

struct Tally {
  int taken = 0, refused = 0;
};

// Runs `use`; an Error counts as refused, and must be fit to print and name `subject` first. Any other
// exception fails the test.
void attempt(const std::function<void()>& use, std::string_view subject, Tally& tally);

// Turns one to three bits among the first `reach` bytes (0: of all), `rounds` times, each time undone.
Tally turn_bits_in_memory(std::string_view sample, size_t reach, int rounds, std::string_view subject,
                          const std::function<void(std::string_view)>& use);

// The same to a file, in place; `reach` is a range of bytes.
Tally turn_bits_in_file(const fs::path& file, std::pair<size_t, size_t> reach, int rounds,
                        std::string_view subject, const std::function<void()>& use);

// Cuts the file at every multiple of `step` below its size, from the long end, and restores it at last.
Tally cut_file(const fs::path& file, size_t step, std::string_view subject, const std::function<void()>& use);

// The whole file mapped privately: what is written to it stays here, and only touched pages cost memory.
class PrivateMap {
 public:
  explicit PrivateMap(const fs::path& path);
  PrivateMap(const PrivateMap&) = delete;
  PrivateMap& operator=(const PrivateMap&) = delete;
  ~PrivateMap();
  Bytes bytes() const { return {data_, size_}; }
  void turn(size_t byte, int bit) { data_[byte] ^= static_cast<std::byte>(1 << bit); }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// One to three places of the first `reach` bytes after `begin`.
std::vector<std::pair<size_t, int>> choose_bits(Random& random, size_t begin, size_t end);

}  // namespace minke

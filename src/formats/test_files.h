#pragma once
// For the tests of this room: a folder that goes away, files that are damaged in every way, and errors
// caught.

#include <atomic>
#include <fstream>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"

namespace minke {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    static std::atomic<int> number = 0;
    path_ = fs::temp_directory_path() / fmt::format("minke-formats-test-{}-{}", ::getpid(), number++);
    fs::create_directories(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { fs::remove_all(path_); }

  fs::path operator/(std::string_view name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// As write_file, without waiting for the disk.
inline void write_text(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// What the Error that f throws says; empty, and a failure, where it throws none.
template <typename F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "no Error";
  return {};
}

inline void expect_says(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), text.npos) << "'" << part << "' is not in: " << text;
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// `use` must take the file, or refuse it with an Error that names it, however it is cut. Each cut has memory
// of its own, so that a sanitizer sees a read past its end.
template <typename Use>
void cut_everywhere(std::string_view file, size_t step, Use use) {
  for (size_t size = 0; size < file.size(); size += step) {
    const std::vector<char> cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    try {
      use(as_bytes({cut.data(), cut.size()}));
      ADD_FAILURE() << "the first " << size << " bytes of " << file.size() << " were taken for the whole";
    } catch (const Error& e) {
      EXPECT_TRUE(e.subject().starts_with("sample")) << e.what();
    }
  }
}

// The same with up to three bits of the first `reach` bytes turned, `rounds` times. Returns how many were
// refused.
template <typename Use>
int turn_bits(std::string_view file, size_t reach, int rounds, Use use) {
  Random random(11);
  int refused = 0;
  std::vector<char> damaged(file.begin(), file.end());
  for (int i = 0; i < rounds; ++i) {
    std::vector<std::pair<size_t, int>> bits(1 + random.below(3));
    for (auto& [byte, bit] : bits) {
      byte = random.below(reach);
      bit = static_cast<int>(random.below(8));
      damaged[byte] = static_cast<char>(damaged[byte] ^ 1 << bit);
    }
    try {
      use(as_bytes({damaged.data(), damaged.size()}));
    } catch (const Error& e) {
      EXPECT_TRUE(e.subject().starts_with("sample")) << e.what();
      ++refused;
    }
    for (const auto& [byte, bit] : bits) damaged[byte] = static_cast<char>(damaged[byte] ^ 1 << bit);
  }
  return refused;
}

}  // namespace minke

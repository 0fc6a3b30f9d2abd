#include "damage.h"

#include <atomic>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "text/utf8.h"

namespace minke {

int hostile_rounds() {
  const char* text = std::getenv("MINKE_HOSTILE_ROUNDS");
  return text ? std::atoi(text) : 40;
}

ScratchFolder::ScratchFolder() {
  static std::atomic<int> number = 0;
  const fs::path memory = "/dev/shm";
  path_ = (fs::is_directory(memory) ? memory : fs::temp_directory_path()) /
          fmt::format("minke-hostile-{}-{}", ::getpid(), ++number);
  fs::create_directories(path_);
}

ScratchFolder::~ScratchFolder() { fs::remove_all(path_); }

void ScratchFolder::write(std::string_view name, std::string_view text) const {
  std::ofstream(path_ / name, std::ios::binary) << text;
}

void attempt(const std::function<void()>& use, std::string_view subject, Tally& tally) {
  try {
    use();
    ++tally.taken;
  } catch (const Error& e) {
    ++tally.refused;
    EXPECT_TRUE(std::string_view(e.what()).starts_with(subject)) << e.what();
    EXPECT_FALSE(e.happened().empty()) << e.what();
    EXPECT_LT(std::string_view(e.what()).size(), 1500u) << e.what();
    EXPECT_EQ(find_invalid_utf8(e.what()), std::string_view::npos) << e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << subject << ": " << e.what() << " is no Error";
  }
}

std::vector<std::pair<size_t, int>> choose_bits(Random& random, size_t begin, size_t end) {
  std::vector<std::pair<size_t, int>> bits(1 + random.below(3));
  for (auto& [byte, bit] : bits) {
    byte = begin + random.below(end - begin);
    bit = static_cast<int>(random.below(8));
  }
  return bits;
}

Tally turn_bits_in_memory(std::string_view sample, size_t reach, int rounds, std::string_view subject,
                          const std::function<void(std::string_view)>& use) {
  Random random(sample.size());
  std::vector<char> damaged(sample.begin(), sample.end());  // a sanitizer knows its end
  Tally tally;
  for (int i = 0; i < rounds; ++i) {
    const auto bits = choose_bits(random, 0, reach ? std::min(reach, damaged.size()) : damaged.size());
    const auto turn = [&] {
      for (const auto& [byte, bit] : bits) damaged[byte] = static_cast<char>(damaged[byte] ^ 1 << bit);
    };
    turn();
    attempt([&] { use({damaged.data(), damaged.size()}); }, subject, tally);
    turn();
  }
  return tally;
}

Tally turn_bits_in_file(const fs::path& file, std::pair<size_t, size_t> reach, int rounds,
                        std::string_view subject, const std::function<void()>& use) {
  Random random(reach.second);
  Tally tally;
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  if (!stream) throw std::runtime_error("cannot open " + file.string());
  for (int i = 0; i < rounds; ++i) {
    const auto bits = choose_bits(random, reach.first, reach.second);
    const auto turn = [&] {
      for (const auto& [byte, bit] : bits) {
        stream.seekg(static_cast<std::streamoff>(byte));
        const int old = stream.get();
        stream.seekp(static_cast<std::streamoff>(byte));
        stream.put(static_cast<char>(old ^ 1 << bit));
        stream.flush();
      }
    };
    turn();
    attempt(use, subject, tally);
    turn();
  }
  if (!stream) throw std::runtime_error("cannot change " + file.string());
  return tally;
}

Tally cut_file(const fs::path& file, size_t step, std::string_view subject,
               const std::function<void()>& use) {
  const std::string whole = read_file(file);
  Tally tally;
  for (size_t size = (whole.size() - 1) / step * step;; size -= step) {
    fs::resize_file(file, size);
    attempt(use, subject, tally);
    if (size == 0) break;
  }
  std::ofstream(file, std::ios::binary) << whole;
  return tally;
}

PrivateMap::PrivateMap(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || ::fstat(fd, &info) != 0) throw std::runtime_error("cannot open " + path.string());
  size_ = static_cast<size_t>(info.st_size);
  void* address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (address == MAP_FAILED) throw std::runtime_error("cannot map " + path.string());
  data_ = static_cast<std::byte*>(address);
}

PrivateMap::~PrivateMap() {
  if (data_) ::munmap(data_, size_);
}

}  // namespace minke

#include "base/residence.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

namespace minke {
namespace {

constexpr size_t kSize = 9'000'001;  // four huge pages, and a part of one

std::string noise(size_t bytes, uint64_t seed) {
  Random random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random.below(256));
  return text;
}

class ResidenceTest : public testing::Test {
 protected:
  fs::path folder_ = fs::temp_directory_path() / fmt::format("minke-residence-test-{}", ::getpid());
  fs::path path_ = folder_ / "file";
  std::string content_ = noise(kSize, 1);
  ThreadPool pool_{3};

  void SetUp() override {
    fs::create_directories(folder_);
    write_file(path_, content_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Writes into the file, where write_file would put another in its place.
  void overwrite(char c) const {
    FILE* file = std::fopen(path_.c_str(), "r+b");
    ASSERT_NE(file, nullptr);
    const std::string other(kSize, c);
    EXPECT_EQ(std::fwrite(other.data(), 1, other.size(), file), other.size());
    std::fclose(file);
  }
};

TEST_F(ResidenceTest, FilesLieWhereHugePagesCan) {
  const MappedFile file(path_);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.bytes().data()) % kHugePage, 0u);
  const Memory memory(kSize, "a test");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.data()) % kHugePage, 0u);
  EXPECT_EQ(memory.data()[kSize - 1], std::byte{0});
}

TEST_F(ResidenceTest, WhatWasTouchedIsPresent) {
  const MappedFile file(path_);
  const Bytes all = file.bytes();
  const Residence before = residence_of({&all, 1});
  EXPECT_EQ(before.bytes, static_cast<int64_t>(kSize));
  read_in(pool_, all);
  const Residence after = residence_of({&all, 1});
  EXPECT_LT(before.present, after.present);
  EXPECT_GE(after.present, static_cast<int64_t>(kSize) / 4096 * 4096);
  EXPECT_EQ(after.huge_own, 0);
}

TEST_F(ResidenceTest, ThePageCacheIsSeenWithoutReading) {
  const MappedFile file(path_);
  const Bytes all = file.bytes();
  read_in(pool_, all);
  EXPECT_EQ(cached_part(file).present, static_cast<int64_t>(kSize));
  forget(file, all);
  EXPECT_LE(cached_part(file).present, static_cast<int64_t>(kSize));  // a RAM disk forgets nothing
  EXPECT_EQ(as_text(all), content_);
}

TEST_F(ResidenceTest, ATakenOverFileIsACopyInTheSamePlace) {
  for (const bool huge : {false, true}) {
    for (const bool leave_cache : {false, true}) {
      write_file(path_, content_);
      const MappedFile file(path_);
      const Bytes all = file.bytes();
      int64_t counted = 0, prepared = 0;
      std::mutex mutex;
      TakeOver how{huge, leave_cache, {}, {}, {}};
      how.prepare = [&](std::span<std::byte> room) { prepared = static_cast<int64_t>(room.size()); };
      how.finish = [&](std::span<std::byte> room) { room.back() = std::byte{'!'}; };
      how.done = [&](int64_t bytes) {
        const std::lock_guard one_at_a_time(mutex);
        counted += bytes;
      };
      take_over(pool_, file, how);
      overwrite('x');
      EXPECT_TRUE(as_text(all) == content_.substr(0, kSize - 1) + '!');
      EXPECT_EQ(file.bytes().data(), all.data());
      EXPECT_EQ(counted, static_cast<int64_t>(kSize));
      EXPECT_EQ(prepared, static_cast<int64_t>(kSize));
      const Residence r = residence_of({&all, 1});
      EXPECT_GE(r.present, static_cast<int64_t>(kSize));
      EXPECT_EQ(r.huge_file, 0);
      if (!huge || huge_page_policy() == "never") {
        EXPECT_EQ(r.huge_own, 0);
      }
    }
  }
}

TEST_F(ResidenceTest, WhatCannotBeCopiedStaysMapped) {
  const MappedFile file(path_);
  fs::resize_file(path_, kSize / 2);
  try {
    take_over(pool_, file, {true, true});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.subject(), path_.string());
    EXPECT_NE(e.happened().find("shorter"), std::string::npos);
  }
  EXPECT_EQ(as_text(file.bytes().first(kSize / 2)), content_.substr(0, kSize / 2));
}

TEST_F(ResidenceTest, TheKernelsPolicyIsRead) {
  const std::string policy = huge_page_policy();
  EXPECT_EQ(policy.empty(), !fs::exists("/sys/kernel/mm/transparent_hugepage/enabled"));
  EXPECT_TRUE(policy.empty() || policy == "always" || policy == "madvise" || policy == "never") << policy;
}

TEST_F(ResidenceTest, AnEmptyFileIsNoMatter) {
  write_file(path_, "");
  const MappedFile file(path_);
  prefer_huge_pages(file.bytes(), true);
  take_over(pool_, file, {true, true});
  const Bytes none = file.bytes();
  EXPECT_EQ(residence_of({&none, 1}).present, 0);
  EXPECT_EQ(cached_part(file).present, 0);
}

TEST_F(ResidenceTest, LockedPagesAreCounted) {
  const MappedFile file(path_);
  const Bytes all = file.bytes();
  try {
    lock_in_memory({&all, 1});
  } catch (const Error& e) {
    GTEST_SKIP() << e.what();  // a limit this user cannot raise
  }
  read_in(pool_, all);
  EXPECT_GE(residence_of({&all, 1}).locked, static_cast<int64_t>(kSize) / 4096 * 4096);
}

// In a process of its own, which gives up its rights.
[[noreturn]] void lock_without_rights(const MappedFile& file) {
  const rlimit little = {65536, 65536};
  ::setrlimit(RLIMIT_MEMLOCK, &little);
  if (::getuid() == 0 && ::setuid(65534) != 0) std::_Exit(3);
  const Bytes all = file.bytes();
  try {
    lock_in_memory({&all, 1});
    std::_Exit(4);
  } catch (const Error& e) {
    std::fputs(e.what(), stderr);
    std::_Exit(residence_of({&all, 1}).locked == 0 ? 0 : 5);
  }
}

TEST_F(ResidenceTest, ALimitIsNamedWithWhatRaisesIt) {
  const MappedFile file(path_);
  EXPECT_EXIT(lock_without_rights(file), testing::ExitedWithCode(0),
              "--lock: .*RLIMIT_MEMLOCK allows 0.1 MB.*ulimit -l unlimited");
}

}  // namespace
}  // namespace minke

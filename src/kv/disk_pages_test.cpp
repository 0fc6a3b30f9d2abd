#include "kv/disk_pages.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "kv/layout.h"

namespace minke {
namespace {

constexpr int64_t kBytes = 1000;
using Rows = std::vector<std::byte>;

class Disk : public testing::Test {
 protected:
  Disk() {
    std::string name = (fs::temp_directory_path() / "minke_disk_pages_XXXXXX").string();
    folder = mkdtemp(name.data());
  }
  ~Disk() override { fs::remove_all(folder); }

  DiskOptions options(int64_t budget = 1 << 20) const { return {folder, budget, 1 << 20}; }
  static std::vector<int32_t> tokens(int32_t fill) { return std::vector<int32_t>(kPageTokens, fill); }
  static Rows rows(int fill) { return Rows(kBytes, static_cast<std::byte>(fill)); }
  static PageKey key(int32_t fill) { return next_key(first_key("test"), tokens(fill)); }
  static bool put(DiskPages& disk, int fill) {
    return disk.write(key(fill), tokens(fill), [&](std::byte* to) { std::memset(to, fill, kBytes); });
  }
  static bool get(DiskPages& disk, int fill) {
    Rows got(kBytes);
    return disk.read(key(fill), tokens(fill), got.data()) && got == rows(fill);
  }
  fs::path file_of(const PageKey& k) const { return folder / hex(k).substr(0, 2) / (hex(k) + ".page"); }

  fs::path folder;
};

TEST(PageKey, DependsOnEverythingBeforeIt) {
  std::set<PageKey> keys;
  for (const char* identity : {"a", "b"})
    for (const char* salt : {"", "x"}) {
      const PageKey first = first_key(identity, salt);
      for (const int32_t t : {1, 2}) {
        const std::vector<int32_t> page(kPageTokens, t);
        keys.insert(next_key(first, page));
        keys.insert(next_key(next_key(first, page), page));
      }
    }
  EXPECT_EQ(keys.size(), 16u);
  PageKey again;
  EXPECT_TRUE(from_hex(hex(*keys.begin()), again));
  EXPECT_EQ(again, *keys.begin());
  for (const char* bad : {"", "0", "0000000000000000000000000000000g", "0000000000000000 000000000000000",
                          "0000000000000000-00000000000000a"})
    EXPECT_FALSE(from_hex(bad, again)) << bad;
}

TEST_F(Disk, PagesAreThereAfterARestart) {
  {
    DiskPages disk(options(), first_key("test"), kBytes);
    for (int i = 1; i <= 5; ++i) EXPECT_TRUE(put(disk, i));
  }
  DiskPages disk(options(), first_key("test"), kBytes);
  EXPECT_EQ(disk.stats().pages, 5);
  for (int i = 1; i <= 5; ++i) EXPECT_TRUE(get(disk, i)) << i;
  EXPECT_FALSE(get(disk, 6));
  EXPECT_EQ(disk.stats().discarded, 0);
}

TEST_F(Disk, DamageIsNoticedWhereverItIs) {
  const auto file = file_of(key(7));
  for (const int64_t at : {0, 9, 30, 41, 47, 60, 300, 310, 400, 1311}) {
    DiskPages disk(options(), first_key("test"), kBytes);
    ASSERT_TRUE(put(disk, 7));
    disk.sync();
    ASSERT_EQ(fs::file_size(file), 320u + kBytes);
    std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
    f.seekg(at);
    const auto was = static_cast<char>(f.get());
    f.seekp(at);
    f.put(static_cast<char>(was ^ 4));
    f.close();
    EXPECT_FALSE(get(disk, 7)) << at;
    EXPECT_EQ(disk.stats().discarded, 1);
    EXPECT_FALSE(fs::exists(file));
    EXPECT_FALSE(disk.has(key(7)));
  }
}

TEST_F(Disk, CutLongerAndStrangeFilesAreNotUsed) {
  const auto file = file_of(key(7));
  for (const size_t size : {0u, 1u, 319u, 320u, 1319u, 1321u, 9000u}) {
    DiskPages disk(options(), first_key("test"), kBytes);
    ASSERT_TRUE(put(disk, 7));
    disk.sync();
    fs::resize_file(file, size);
    EXPECT_FALSE(get(disk, 7)) << size;
  }
  DiskPages disk(options(), first_key("test"), kBytes);
  put(disk, 1);
  put(disk, 2);
  disk.sync();
  fs::copy_file(file_of(key(1)), file_of(key(2)), fs::copy_options::overwrite_existing);
  EXPECT_FALSE(get(disk, 2));  // another page under this name
  EXPECT_TRUE(get(disk, 1));
}

TEST_F(Disk, AnotherModelsPagesAreNotUsed) {
  {
    DiskPages disk(options(), first_key("test"), kBytes);
    put(disk, 1);
  }
  DiskPages other(options(), first_key("other"), kBytes);
  EXPECT_FALSE(get(other, 1));
}

TEST_F(Disk, TheLeastRecentlyUsedMakesRoom) {
  DiskPages disk(options(3 * (kBytes + 320)), first_key("test"), kBytes);
  for (int i = 1; i <= 3; ++i) put(disk, i);
  disk.sync();
  EXPECT_TRUE(get(disk, 1));
  put(disk, 4);
  disk.sync();
  EXPECT_FALSE(disk.has(key(2)));
  EXPECT_FALSE(fs::exists(file_of(key(2))));
  for (const int i : {1, 3, 4}) EXPECT_TRUE(get(disk, i)) << i;
  EXPECT_LE(disk.stats().bytes, 3 * (kBytes + 320));
}

TEST_F(Disk, WhatCannotBeWrittenIsCountedAndNothingElse) {
  DiskPages disk(options(), first_key("test"), kBytes);
  std::ofstream(folder / hex(key(1)).substr(0, 2)) << "in the way";
  put(disk, 1);
  disk.sync();
  EXPECT_EQ(disk.stats().failed, 1);
  EXPECT_NE(disk.stats().failure, "");
  EXPECT_FALSE(get(disk, 1));
}

TEST_F(Disk, AFullQueueRefuses) {
  DiskOptions small = options();
  small.queue = 500;
  DiskPages disk(small, first_key("test"), kBytes);
  EXPECT_FALSE(put(disk, 1));
}

TEST_F(Disk, AFolderThatCannotBeIsNamed) {
  std::ofstream(folder / "file") << "x";
  try {
    DiskPages({folder / "file" / "cache"}, first_key("test"), kBytes);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("file/cache"), std::string::npos);
  }
}

}  // namespace
}  // namespace minke

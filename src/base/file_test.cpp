#include "base/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

class FileTest : public testing::Test {
 protected:
  fs::path folder_ = fs::temp_directory_path() / fmt::format("minke-file-test-{}", ::getpid());
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
};

TEST_F(FileTest, WhatIsWrittenIsRead) {
  write_file(folder_ / "a", "hello");
  EXPECT_EQ(read_file(folder_ / "a"), "hello");
  const MappedFile mapped(folder_ / "a");
  EXPECT_EQ(as_text(mapped.bytes()), "hello");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(FileTest, WithoutCommitTheOldContentStays) {
  write_file(folder_ / "a", "old");
  {
    AtomicFile file(folder_ / "a");
    file.write(as_bytes("new"));
  }
  EXPECT_EQ(read_file(folder_ / "a"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(FileTest, ErrorsNameThePath) {
  for (const fs::path& path : {folder_ / "missing", folder_}) {
    try {
      MappedFile file(path);
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.subject(), path.string());
    }
  }
  write_file(folder_ / "b", "12345");
  EXPECT_THROW(read_file(folder_ / "b", 4), Error);
}

TEST_F(FileTest, TheKernelsFilesAreReadWhateverTheirSizeIs) {
  EXPECT_NE(read_kernel_file("/proc/self/status").find("Name:"), std::string::npos);
  EXPECT_FALSE(read_kernel_file("/sys/devices/system/cpu/online").empty());
  EXPECT_THROW(read_kernel_file(folder_ / "missing"), Error);
}

TEST_F(FileTest, APipeIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(MappedFile(folder_ / "pipe"), Error);
  EXPECT_THROW(read_file(folder_ / "pipe"), Error);
}

TEST_F(FileTest, AnEmptyFileMapsToNothing) {
  write_file(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
}

}  // namespace
}  // namespace minke

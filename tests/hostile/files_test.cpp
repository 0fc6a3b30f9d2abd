// Things that are no model files, given instead of one. None may hang, and each is said to be what it is.

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "damage.h"
#include "samples.h"

namespace minke {
namespace {

std::string error_of_loading(const fs::path& path) {
  ::alarm(20);  // a test that waits for a pipe's other end fails
  std::string what;
  try {
    load_model(path);
  } catch (const Error& e) {
    what = e.what();
  }
  ::alarm(0);
  return what;
}

void expect_refused(const fs::path& path, std::string_view part) {
  const std::string what = error_of_loading(path);
  EXPECT_TRUE(what.starts_with(path.string())) << what;
  EXPECT_NE(what.find(part), what.npos) << what;
}

TEST(NoModelFiles, PipesAndDevices) {
  const ScratchFolder folder;
  const fs::path pipe = folder / "pipe.gguf";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_refused(pipe, "not a regular file");
  expect_refused("/dev/zero", "not a regular file");
  expect_refused("/dev/null", "not a regular file");
}

TEST(NoModelFiles, EmptyFilesAndFolders) {
  const ScratchFolder folder;
  folder.write("empty.gguf", "");
  expect_refused(folder / "empty.gguf", "is empty");
  fs::create_directory(folder / "nothing");
  expect_refused(folder / "nothing", "config.json");
}

TEST(NoModelFiles, LinksThatLeadNowhere) {
  const ScratchFolder folder;
  fs::create_symlink("b.gguf", folder / "a.gguf");
  fs::create_symlink("a.gguf", folder / "b.gguf");
  expect_refused(folder / "a.gguf", "Too many levels of symbolic links");
  fs::create_symlink("gone.gguf", folder / "c.gguf");
  expect_refused(folder / "c.gguf", "No such file");
}

TEST(NoModelFiles, FilesOneMayNotRead) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const ScratchFolder folder;
  folder.write("secret.gguf", "GGUF");
  fs::permissions(folder / "secret.gguf", fs::perms::none);
  expect_refused(folder / "secret.gguf", "Permission denied");
}

TEST(NoModelFiles, InsideOfAModelFolder) {
  for (const char* file : {"config.json", "model.safetensors"}) {
    const ScratchFolder folder;
    copy_golden_model("qwen2", folder.path());
    fs::remove(folder / file);
    fs::create_directory(folder / file);
    EXPECT_TRUE(error_of_loading(folder.path()).starts_with(folder.path().string())) << file;
    fs::remove(folder / file);
    ASSERT_EQ(::mkfifo((folder / file).c_str(), 0600), 0);
    EXPECT_TRUE(error_of_loading(folder.path()).starts_with(folder.path().string())) << file;
    fs::remove(folder / file);
    fs::create_symlink(file, folder / file);
    EXPECT_TRUE(error_of_loading(folder.path()).starts_with(folder.path().string())) << file;
  }
}

TEST(NoModelFiles, AFileThatGrewShorter) {
  const ScratchFolder folder;
  write_small_gguf(folder / "small.gguf");
  const Model model = load_model(folder / "small.gguf");
  EXPECT_EXIT(
      {
        std::signal(SIGBUS,
                    [](int) { ::_exit(7); });  // what the program says then is the command line's matter
        fs::resize_file(folder / "small.gguf", 4096);
        use_model(model);
        ::_exit(0);
      },
      testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace minke

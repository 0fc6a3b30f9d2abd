#include "hub/cache.h"

#include <sys/wait.h>

#include "hub/hub_stand_in.h"

namespace minke {
namespace {

class Cache : public HubTest {
 protected:
  CachedRepo repo_;
  std::string commit_ = std::string(40, 'c');
  void SetUp() override {
    HubTest::SetUp();
    repo_ = {folder_, "org/name"};
  }
};

TEST_F(Cache, LinksAreRelativeAndReplaced) {
  put(repo_.blob("one"), "1");
  put(repo_.blob("two"), "22");
  link_blob(repo_, commit_, "deep/er/file", "one");
  const fs::path link = repo_.snapshot(commit_) / "deep/er/file";
  EXPECT_EQ(fs::read_symlink(link), "../../../../blobs/one");
  link_blob(repo_, commit_, "deep/er/file", "two");
  EXPECT_EQ(read_file(link), "22");
  EXPECT_EQ(snapshot_files(repo_.snapshot(commit_)), std::vector<std::string>{"deep/er/file"});
  fs::remove(repo_.blob("two"));
  EXPECT_TRUE(snapshot_files(repo_.snapshot(commit_)).empty());
}

TEST_F(Cache, RevisionsLeadToSnapshots) {
  const std::string other(40, 'd');
  link_blob(repo_, commit_, "f", "e");
  EXPECT_EQ(cached_commit(repo_, ""), commit_);  // the only one
  EXPECT_EQ(cached_commit(repo_, "main"), std::nullopt);
  link_blob(repo_, other, "f", "e");
  EXPECT_EQ(cached_commit(repo_, ""), std::nullopt);
  write_ref(repo_, "main", other);
  write_ref(repo_, "refs/pr/1", commit_);
  write_ref(repo_, commit_, commit_);
  EXPECT_EQ(read_file(repo_.folder() / "refs/main"), other);
  EXPECT_EQ(cached_refs(repo_).size(), 2u);
  EXPECT_EQ(cached_commit(repo_, ""), other);
  EXPECT_EQ(cached_commit(repo_, "refs/pr/1"), commit_);
  EXPECT_EQ(cached_commit(repo_, commit_), commit_);
  EXPECT_EQ(cached_commit(repo_, commit_.substr(0, 7)), commit_);
  EXPECT_EQ(cached_commit(repo_, commit_.substr(0, 6)), std::nullopt);
  put(repo_.folder() / "refs/bad", "not a commit");
  EXPECT_EQ(cached_commit(repo_, "bad"), std::nullopt);
}

TEST_F(Cache, RepositoriesAreThoseOfModels) {
  for (const char* name : {"models--org--name", "models--gpt2", "datasets--org--data", "blobs", ".locks"})
    fs::create_directories(folder_ / name);
  const auto repos = cached_repos(folder_);
  ASSERT_EQ(repos.size(), 2u);
  EXPECT_EQ(repos[0].repo, "gpt2");
  EXPECT_EQ(repos[1].repo, "org/name");
  EXPECT_EQ(repos[1].folder(), folder_ / "models--org--name");
  EXPECT_TRUE(cached_repos(folder_ / "nowhere").empty());
}

TEST_F(Cache, ALockIsHeldAgainstOtherProcesses) {
  const fs::path path = repo_.lock("etag");
  int ready[2], leave[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(leave), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = FileLock::try_lock(path);
    char c = lock ? 'y' : 'n';
    if (::write(ready[1], &c, 1) != 1 || ::read(leave[0], &c, 1) != 1) ::_exit(1);
    ::_exit(0);
  }
  char c = 0;
  ASSERT_EQ(::read(ready[0], &c, 1), 1);
  EXPECT_EQ(c, 'y');
  EXPECT_FALSE(FileLock::try_lock(path));
  int waited = 0;
  const FileLock lock(path, [&] {
    if (++waited == 2 && ::write(leave[1], &c, 1) != 1) throw Error("cannot write to the pipe");
  });
  EXPECT_GE(waited, 2);
  ::waitpid(child, nullptr, 0);
  for (const int fd : {ready[0], ready[1], leave[0], leave[1]}) ::close(fd);
}

TEST_F(Cache, WaitingForALockCanEnd) {
  const auto held = FileLock::try_lock(repo_.lock("etag"));
  ASSERT_TRUE(held);
  EXPECT_THROW(FileLock(repo_.lock("etag"), [] { throw Error("canceled"); }), Error);
}

}  // namespace
}  // namespace minke

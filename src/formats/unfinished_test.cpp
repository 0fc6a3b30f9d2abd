#include "formats/unfinished.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "formats/test_files.h"

namespace minke {
namespace {

using Kind = UnfinishedOutput::Kind;

class Unfinished : public testing::Test {
 protected:
  UnfinishedOutput::Options options(Kind kind, std::string identity = "1") {
    return {.kind = kind, .identity = std::move(identity), .sync_bytes = 100};
  }
  fs::path unfinished() const { return folder_ / "out.unfinished"; }

  TemporaryFolder folder_;
};

// Ten pieces of 70 bytes each; returns how many were written rather than passed over.
int write_pieces(UnfinishedOutput& out, int until = 10) {
  int written = 0;
  for (int i = 0; i < until; ++i) {
    if (out.skip(70)) continue;
    out.write(as_bytes(std::string(70, static_cast<char>('a' + i))));
    ++written;
  }
  return written;
}

TEST_F(Unfinished, AppearsWhenWhole) {
  {
    UnfinishedOutput out(folder_ / "out", options(Kind::file));
    out.begin("out");
    EXPECT_EQ(write_pieces(out), 10);
    out.end();
    EXPECT_FALSE(fs::exists(folder_ / "out"));
    out.finish();
  }
  EXPECT_EQ(read_file(folder_ / "out").size(), 700u);
  EXPECT_FALSE(fs::exists(unfinished()));
}

TEST_F(Unfinished, GoesOnWhereItStopped) {
  {
    UnfinishedOutput out(folder_ / "out", options(Kind::file));
    out.begin("out");
    write_pieces(out, 5);
  }
  UnfinishedOutput out(folder_ / "out", options(Kind::file));
  EXPECT_EQ(out.kept(), 350u);
  out.begin("out");
  EXPECT_EQ(write_pieces(out), 5);
  out.end();
  out.finish();
  const std::string text = read_file(folder_ / "out");
  for (size_t i = 0; i < 700; ++i) ASSERT_EQ(text[i], static_cast<char>('a' + i / 70));
}

// Killed without a chance to say so: what the journal does not vouch for is thrown away, and so is a line cut
// short.
TEST_F(Unfinished, TrustsTheJournalAlone) {
  {
    UnfinishedOutput out(folder_ / "out", options(Kind::file));
    out.begin("out");
    write_pieces(out, 5);
  }
  std::string journal = read_file(unfinished() / "journal");
  EXPECT_EQ(std::ranges::count(journal, '\n'), 4);  // its head, 140, 280, and 350 at the end
  write_text(unfinished() / "journal", journal.substr(0, journal.size() - 3));
  write_text(unfinished() / "out", read_file(unfinished() / "out") + "rubbish");
  UnfinishedOutput out(folder_ / "out", options(Kind::file));
  EXPECT_EQ(out.kept(), 280u);
  out.begin("out");
  EXPECT_EQ(write_pieces(out), 6);
  out.end();
  out.finish();
  EXPECT_EQ(read_file(folder_ / "out"), read_file(folder_ / "out").substr(0, 700));
}

TEST_F(Unfinished, DamageIsFoundAndWrittenAnew) {
  {
    UnfinishedOutput out(folder_ / "out", options(Kind::file));
    out.begin("out");
    write_pieces(out, 8);
  }
  std::string bytes = read_file(unfinished() / "out");
  bytes[200] = '!';
  write_text(unfinished() / "out", bytes);
  UnfinishedOutput out(folder_ / "out", options(Kind::file));
  EXPECT_EQ(out.kept(), 140u);
  out.begin("out");
  EXPECT_EQ(write_pieces(out), 8);
  out.end();
  out.finish();
  EXPECT_EQ(read_file(folder_ / "out")[200], 'c');
}

// The place where it stopped need not be the end of a piece.
TEST_F(Unfinished, PiecesOfOtherSizes) {
  {
    UnfinishedOutput out(folder_ / "out", options(Kind::file));
    out.begin("out");
    write_pieces(out, 5);
  }
  UnfinishedOutput out(folder_ / "out", options(Kind::file));
  out.begin("out");
  EXPECT_TRUE(out.skip(300));
  EXPECT_FALSE(out.skip(100));
  out.write(as_bytes(std::string(50, 'e') + std::string(50, 'x')));
  out.end();
  out.finish();
  EXPECT_EQ(read_file(folder_ / "out").substr(290), std::string(60, 'e') + std::string(50, 'x'));
}

TEST_F(Unfinished, AnotherOutputBeginsAnew) {
  {
    UnfinishedOutput out(folder_ / "out", options(Kind::folder));
    out.begin("first");
    write_pieces(out, 5);
  }
  UnfinishedOutput out(folder_ / "out", options(Kind::folder, "2"));
  EXPECT_EQ(out.kept(), 0u);
  EXPECT_FALSE(fs::exists(unfinished() / "first"));
}

TEST_F(Unfinished, FoldersOfFiles) {
  {
    UnfinishedOutput out(folder_ / "out", options(Kind::folder));
    out.begin("one");
    write_pieces(out);
    out.end();
    out.begin("two");
    write_pieces(out, 4);
  }
  fs::create_directories(folder_ / "out");
  write_text(folder_ / "out" / "old", "old");
  UnfinishedOutput out(folder_ / "out", options(Kind::folder));
  EXPECT_EQ(out.kept(), 980u);
  out.begin("one");
  EXPECT_EQ(write_pieces(out), 0);
  out.end();
  out.begin("two");
  EXPECT_EQ(write_pieces(out), 6);
  out.end();
  out.write_file("three", "text");
  out.finish();
  EXPECT_EQ(read_file(folder_ / "out" / "one"), read_file(folder_ / "out" / "two"));
  EXPECT_EQ(read_file(folder_ / "out" / "three"), "text");
  EXPECT_FALSE(fs::exists(folder_ / "out" / "old"));
  EXPECT_FALSE(fs::exists(folder_ / "out" / "journal"));
  EXPECT_FALSE(fs::exists(folder_ / "out.replaced"));
}

TEST_F(Unfinished, OneProgramAtATime) {
  UnfinishedOutput out(folder_ / "out", options(Kind::file));
  expect_says(error_of([&] { UnfinishedOutput(folder_ / "out", options(Kind::file)); }), "another program");
}

TEST_F(Unfinished, NamesWhatCannotBeMade) {
  const std::string text = error_of([&] { UnfinishedOutput(folder_ / "no" / "out", options(Kind::file)); });
  expect_says(text, "no/out.unfinished");
  write_text(folder_ / "out.unfinished", "a file");
  expect_says(error_of([&] { UnfinishedOutput(folder_ / "out", options(Kind::file)); }), "out.unfinished");
}

// Any bytes where the journal should be: nothing is taken up, or what is there is good.
TEST_F(Unfinished, AnyJournal) {
  {
    UnfinishedOutput out(folder_ / "out", options(Kind::file));
    out.begin("out");
    write_pieces(out, 8);
  }
  const std::string journal = read_file(unfinished() / "journal"), bytes = read_file(unfinished() / "out");
  Random random(5);
  for (int round = 0; round < 300; ++round) {
    std::string damaged = journal;
    for (uint64_t n = 1 + random.below(3); n > 0; --n)
      damaged[random.below(damaged.size())] = static_cast<char>(random.below(256));
    write_text(unfinished() / "journal", damaged);
    write_text(unfinished() / "out", bytes);
    UnfinishedOutput out(folder_ / "out", options(Kind::file));
    out.begin("out");
    write_pieces(out, 8);
    out.end();
    ASSERT_EQ(read_file(unfinished() / "out"), bytes) << damaged;
  }
}

}  // namespace
}  // namespace minke

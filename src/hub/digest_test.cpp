#include "hub/digest.h"

#include <gtest/gtest.h>

namespace minke {
namespace {

// The values are sha256sum's and git hash-object's.
TEST(Digest, IsThatOfTheStandardTools) {
  Digest sha(DigestKind::sha256, 6);
  sha.add(as_bytes("hel"));
  sha.add(as_bytes("lo\n"));
  EXPECT_EQ(sha.hex(), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
  Digest git(DigestKind::git_blob, 6);
  git.add(as_bytes("hello\n"));
  EXPECT_EQ(git.hex(), "ce013625030ba8dba906f756967f9e9ca394464a");
  EXPECT_EQ(Digest(DigestKind::git_blob, 0).hex(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

TEST(Digest, HexIsOfTheLengthAsked) {
  EXPECT_TRUE(is_hex("0123456789abcdef", 16));
  EXPECT_FALSE(is_hex("0123456789abcdef", 15));
  EXPECT_FALSE(is_hex("0123456789ABCDEF", 16));
  EXPECT_FALSE(is_hex("0123456789abcdeg", 16));
}

}  // namespace
}  // namespace minke

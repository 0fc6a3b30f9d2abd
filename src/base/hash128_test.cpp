#include "base/hash128.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/random.h"

namespace minke {
namespace {

// As `xxhsum -H2` gives them.
TEST(Hash128, IsXxh3) {
  EXPECT_EQ(hex(hash128("")), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hex(hash128("a")), "a96faf705af16834e6c632b61e964e1f");
  EXPECT_EQ(hex(hash128(std::string(1000, 'x'))), "50a1af5a5f2dcf01c0a4877b962cba82");
}

TEST(Hash128, OfPiecesIsThatOfAll) {
  Random random(7);
  for (const size_t size : {0, 1, 16, 17, 240, 241, 1024, 5000}) {
    std::string text(size, 0);
    for (char& c : text) c = static_cast<char>(random.bits());
    Hasher128 hasher;
    for (size_t at = 0; at < size;) {
      const size_t piece = std::min(size - at, size_t{random.bits() % 300});
      hasher.add(std::string_view(text).substr(at, piece));
      EXPECT_EQ(hasher.hash(), hash128(text.substr(0, at += piece)));
    }
    EXPECT_EQ(hasher.hash(), hash128(text));
    EXPECT_NE(hash128(as_bytes(text), 1), hash128(text));
  }
}

TEST(Hash128, IsReadFromItsDigitsAlone) {
  const Hash128 hash{0x0123456789abcdef, 0xf};
  EXPECT_EQ(hex(hash), "0123456789abcdef000000000000000f");
  Hash128 read;
  EXPECT_TRUE(from_hex(hex(hash), read));
  EXPECT_EQ(read, hash);
  for (const char* text : {"", "0123456789abcdef000000000000000", "0123456789abcdef000000000000000f0",
                           "0123456789ABCDEF000000000000000f", "0123456789abcdeg000000000000000f",
                           "-123456789abcdef000000000000000f"})
    EXPECT_FALSE(from_hex(text, read)) << text;
}

}  // namespace
}  // namespace minke

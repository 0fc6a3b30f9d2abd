#include "formats/gzip.h"

#include <zlib.h>

#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

std::string gzip(const std::string& text) {
  z_stream s = {};
  EXPECT_EQ(deflateInit2(&s, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&s, text.size()), '\0');
  s.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  s.avail_in = static_cast<uInt>(text.size());
  s.next_out = reinterpret_cast<Bytef*>(out.data());
  s.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&s, Z_FINISH), Z_STREAM_END);
  out.resize(s.total_out);
  deflateEnd(&s);
  return out;
}

std::string sample() {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += std::to_string(i * 7919 % 10007) + ",";
  return text;
}

TEST(Gzip, ContentComesBack) {
  for (const std::string& text : {std::string(), std::string("a"), std::string("\0\n\xff", 3), sample()})
    EXPECT_EQ(gunzip(as_bytes(gzip(text)), 1 << 20), text);
  EXPECT_EQ(gunzip(as_bytes(gzip("one, ") + gzip("two")), 100), "one, two");
}

TEST(Gzip, IsKnownByItsFirstBytes) {
  EXPECT_TRUE(is_gzip(as_bytes(gzip("x"))));
  EXPECT_FALSE(is_gzip(as_bytes("{}")));
  EXPECT_FALSE(is_gzip({}));
}

TEST(Gzip, WhatIsCutShortOrDamagedIsSaid) {
  const std::string whole = gzip(sample());
  for (size_t n = 0; n < whole.size(); n += 997)
    EXPECT_THROW(gunzip(as_bytes(whole).first(n), 1 << 20), Error) << n;
  EXPECT_THROW(gunzip(as_bytes(whole).first(whole.size() - 1), 1 << 20), Error);
  std::string flipped = whole;
  flipped[flipped.size() / 2] ^= 0x40;
  EXPECT_THROW(gunzip(as_bytes(flipped), 1 << 20), Error);
  EXPECT_THROW(gunzip(as_bytes(whole + "rubbish"), 1 << 20), Error);
}

TEST(Gzip, ContentIsBounded) {
  const std::string zeros(1 << 20, '\0');
  EXPECT_THROW(gunzip(as_bytes(gzip(zeros)), zeros.size() - 1), Error);
  EXPECT_EQ(gunzip(as_bytes(gzip(zeros)), zeros.size()), zeros);
}

}  // namespace
}  // namespace minke

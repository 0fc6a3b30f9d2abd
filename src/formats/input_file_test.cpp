#include "formats/input_file.h"

#include <fstream>
#include <zlib.h>

#include <gtest/gtest.h>
#include <zstd.h>

#include "base/error.h"
#include "base/random.h"

namespace minke {
namespace {

std::string some_text() {
  Random random(1);
  std::string text;
  while (text.size() < 300'000) text += static_cast<char>('a' + random.below(random.below(20) + 1));
  return text;
}

std::string gzip(const std::string& text) {
  z_stream stream = {};
  ::deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(::deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(::ZSTD_compressBound(text.size()) + 4, '\0');
  ZSTD_CCtx* const context = ::ZSTD_createCCtx();
  ::ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);  // as the program zstd does
  out.resize(::ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
  ::ZSTD_freeCCtx(context);
  return out;
}

std::string read_all(const std::string& bytes, size_t piece) {
  const fs::path path = fs::path(testing::TempDir()) / "input_file_test";
  std::ofstream(path, std::ios::binary) << bytes;
  InputFile file(path);
  std::string text, buffer(piece, '\0');
  while (const size_t n = file.read(buffer)) text.append(buffer, 0, n);
  EXPECT_EQ(file.read(buffer), 0u);
  EXPECT_EQ(file.consumed(), static_cast<int64_t>(bytes.size()));
  return text;
}

TEST(InputFile, GivesTheContentOfAnyKind) {
  const std::string text = some_text(), more = "and more";
  for (const size_t piece : {size_t{1} << 20, size_t{1000}, size_t{4096}}) {
    EXPECT_EQ(read_all(text, piece), text);
    EXPECT_EQ(read_all(gzip(text), piece), text);
    EXPECT_EQ(read_all(gzip(text) + gzip(more), piece), text + more);
    EXPECT_EQ(read_all(zstd(text), piece), text);
    EXPECT_EQ(read_all(zstd(text) + zstd(more) + zstd(""), piece), text + more);
  }
  EXPECT_EQ(read_all("", 10), "");
  EXPECT_EQ(read_all(zstd(""), 10), "");
  EXPECT_EQ(read_all(gzip(""), 10), "");
}

TEST(InputFile, DamageIsNamed) {
  const std::string text = some_text();
  for (const std::string& good : {gzip(text), zstd(text)}) {
    for (size_t n = 4; n < good.size(); n += 1 + good.size() / 50)
      EXPECT_THROW(read_all(good.substr(0, n), 4096), Error) << n;
    std::string damaged = good;
    damaged[good.size() / 2] = static_cast<char>(~damaged[good.size() / 2]);
    damaged[good.size() / 2 + 1] = static_cast<char>(~damaged[good.size() / 2 + 1]);
    EXPECT_THROW(read_all(damaged, 4096), Error);
    EXPECT_THROW(read_all(good + "x", 4096), Error);
  }
}

}  // namespace
}  // namespace minke

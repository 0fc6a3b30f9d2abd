#include "formats/gzip.h"

#include <algorithm>
#include <memory>
#include <zlib.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr int kGzipWindow = 16 + MAX_WBITS;  // zlib's way to say: gzip, and nothing else
constexpr size_t kPiece = 1 << 16;

}  // namespace

bool is_gzip(Bytes bytes) {
  return bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
}

std::string gunzip(Bytes bytes, size_t max_bytes) {
  z_stream stream = {};
  if (::inflateInit2(&stream, kGzipWindow) != Z_OK) throw Error("no memory to decompress in");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, &::inflateEnd);
  std::string text;
  char piece[kPiece];
  size_t at = 0;
  for (int state = Z_OK;;) {
    if (stream.avail_in == 0 && at < bytes.size()) {
      const size_t some = std::min<size_t>(bytes.size() - at, 1 << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data() + at));
      stream.avail_in = static_cast<uInt>(some);
      at += some;
    }
    const bool fed = stream.avail_in > 0;
    if (state == Z_STREAM_END) {
      if (!fed) return text;
      if (::inflateReset(&stream) != Z_OK) throw Error("gzip: cannot go on with the next member");
    }
    stream.next_out = reinterpret_cast<Bytef*>(piece);
    stream.avail_out = kPiece;
    state = ::inflate(&stream, Z_NO_FLUSH);
    const size_t got = kPiece - stream.avail_out;
    if (got > max_bytes - text.size())
      throw Error(fmt::format("gzip: more than {} bytes of content", max_bytes));
    text.append(piece, got);
    if (state == Z_STREAM_END) continue;
    if (state == Z_BUF_ERROR && !fed) throw Error("gzip: cut short", {}, "download it again");
    if (state != Z_OK)
      throw Error(fmt::format("gzip: damaged ({})", stream.msg ? stream.msg : "bad data"), {},
                  "download it again");
  }
}

}  // namespace minke

#include "formats/input_file.h"

#include <algorithm>
#include <zlib.h>

#include <fmt/format.h>
#include <zstd.h>

#include "base/error.h"
#include "formats/gzip.h"

namespace minke {
namespace {

constexpr const char* kDamaged = "the file is damaged, or was not copied to its end";
constexpr int kGzipWindow = 16 + MAX_WBITS;
constexpr int kLargestZstdWindow = 31;  // of those that `zstd --ultra --long=31` makes

bool is_zstd(Bytes bytes) {
  constexpr std::byte kMagic[] = {std::byte{0x28}, std::byte{0xb5}, std::byte{0x2f}, std::byte{0xfd}};
  return bytes.size() >= 4 && std::equal(std::begin(kMagic), std::end(kMagic), bytes.begin());
}

}  // namespace

struct InputFile::Impl {
  explicit Impl(const fs::path& path) : file(path) {}
  virtual ~Impl() = default;
  virtual size_t read(std::span<char> to) = 0;

  Bytes rest() const { return file.bytes().subspan(at); }
  [[noreturn]] void damaged(const std::string& what) const {
    throw Error(fmt::format("{} near byte {}", what, at), file.path().string(), kDamaged);
  }

  MappedFile file;
  size_t at = 0;
};

namespace {

struct Plain : InputFile::Impl {
  using Impl::Impl;
  size_t read(std::span<char> to) override {
    const Bytes some = rest().first(std::min(to.size(), rest().size()));
    std::ranges::copy(as_text(some), to.begin());
    at += some.size();
    return some.size();
  }
};

struct Gzip : InputFile::Impl {
  explicit Gzip(const fs::path& path) : Impl(path) {
    if (::inflateInit2(&stream, kGzipWindow) != Z_OK)
      throw Error("no memory to decompress in", path.string());
  }
  ~Gzip() override { ::inflateEnd(&stream); }

  size_t read(std::span<char> to) override {
    size_t got = 0;
    while (got < to.size()) {
      const size_t fed = std::min<size_t>(rest().size(), 1 << 30);
      if (between && fed == 0) return got;
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(rest().data()));
      stream.avail_in = static_cast<uInt>(fed);
      const size_t room = std::min<size_t>(to.size() - got, 1 << 30);
      stream.next_out = reinterpret_cast<Bytef*>(to.data() + got);
      stream.avail_out = static_cast<uInt>(room);
      const int state = ::inflate(&stream, Z_NO_FLUSH);
      at += fed - stream.avail_in;
      got += room - stream.avail_out;
      between = state == Z_STREAM_END;
      if (between && ::inflateReset(&stream) != Z_OK) damaged("gzip cannot go on");
      if (state == Z_BUF_ERROR && fed == 0) damaged("gzip is cut short");
      if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR) damaged("gzip is damaged");
    }
    return got;
  }

  z_stream stream = {};
  bool between = false;  // members
};

struct Zstd : InputFile::Impl {
  explicit Zstd(const fs::path& path) : Impl(path), stream(::ZSTD_createDStream(), &::ZSTD_freeDStream) {
    if (!stream) throw Error("no memory to decompress in", path.string());
    ::ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax, kLargestZstdWindow);
  }

  size_t read(std::span<char> to) override {
    ZSTD_outBuffer out = {to.data(), to.size(), 0};
    while (out.pos < out.size) {
      ZSTD_inBuffer in = {rest().data(), rest().size(), 0};
      if (between && in.size == 0) break;
      const size_t before = out.pos, state = ::ZSTD_decompressStream(stream.get(), &out, &in);
      at += in.pos;
      if (::ZSTD_isError(state)) damaged(fmt::format("zstd is damaged ({})", ::ZSTD_getErrorName(state)));
      between = state == 0;
      if (!between && in.pos == 0 && out.pos == before) damaged("zstd is cut short");
    }
    return out.pos;
  }

  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream;
  bool between = false;  // frames
};

}  // namespace

InputFile::InputFile(const fs::path& path) {
  const MappedFile probe(path);
  if (is_gzip(probe.bytes()))
    impl_ = std::make_unique<Gzip>(path);
  else if (is_zstd(probe.bytes()))
    impl_ = std::make_unique<Zstd>(path);
  else
    impl_ = std::make_unique<Plain>(path);
}
InputFile::InputFile(InputFile&&) noexcept = default;
InputFile::~InputFile() = default;

size_t InputFile::read(std::span<char> to) { return impl_->read(to); }
int64_t InputFile::consumed() const { return static_cast<int64_t>(impl_->at); }

}  // namespace minke

#include "quant/interleave.h"

#include <cstring>

#include "base/error.h"

namespace minke {
namespace {

// f(offset, size) for every dword and half of a block.
template <typename F>
void for_each_piece(Format format, const F& f) {
  const int bytes = info(format).block_bytes;
  const bool scale_and_min = format == Format::q4_1 || format == Format::q5_1;
  const int halves = info(format).block == 256 ? 0 : scale_and_min ? 2 : 1;  // at the start
  int offset = 0;
  for (; offset < 2 * halves; offset += 2) f(offset, 2);
  for (; offset + 4 <= bytes; offset += 4) f(offset, 4);
  if (offset < bytes) f(offset, 2);
}

int64_t place_of(Format format, int offset, int size, int64_t row) {
  return int64_t{kInterleavedRows} * interleaved_at(format, offset) + size * row;
}

}  // namespace

bool can_interleave(const Mat& m) { return interleaves(m.format) && m.rows % kInterleavedRows == 0; }

void interleave_group(const Mat& m, std::byte* rows, std::byte* scratch) {
  const int64_t bytes = info(m.format).block_bytes, blocks = m.row_bytes / bytes;
  std::memcpy(scratch, rows, static_cast<size_t>(kInterleavedRows * m.row_bytes));
  for (int64_t block = 0; block < blocks; ++block) {
    std::byte* to = rows + kInterleavedRows * bytes * block;
    for_each_piece(m.format, [&](int offset, int size) {
      const std::byte* from = scratch + bytes * block + offset;
      for (int r = 0; r < kInterleavedRows; ++r)
        std::memcpy(to + place_of(m.format, offset, size, r), from + r * m.row_bytes,
                    static_cast<size_t>(size));
    });
  }
}

void gather_block(const Mat& m, int64_t row, int64_t block, std::byte* out) {
  MINKE_CHECK(m.interleaved);
  const int64_t first = row / kInterleavedRows * kInterleavedRows;
  const std::byte* from = m.row(first) + kInterleavedRows * info(m.format).block_bytes * block;
  for_each_piece(m.format, [&](int offset, int size) {
    std::memcpy(out + offset, from + place_of(m.format, offset, size, row - first),
                static_cast<size_t>(size));
  });
}

}  // namespace minke

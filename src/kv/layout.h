#pragma once
// What a token leaves behind in each layer, and where: rows, and pages of 64 rows (docs/internals.md).

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quant/kv_format.h"

namespace minke {

// Formats of a cache; index: of the indexer's keys.
struct KvFormats {
  KvFormat rows = KvFormat::bf16, index = KvFormat::bf16;

  KvFormats() = default;
  KvFormats(KvFormat all)
      : rows(all), index(all) {}  // NOLINT(google-explicit-constructor): mostly they are one
  KvFormats(KvFormat others, KvFormat of_index) : rows(others), index(of_index) {}
};

// "int8", or "bf16,index=int8". Throws Error.
KvFormats kv_formats(std::string_view text);
std::string text_of(const KvFormats& formats);

// Some heads of a row, one after the other. Width 0: the row has no such part.
struct KvPart {
  KvFormat format = KvFormat::f32;
  int width = 0;       // numbers of all heads
  int64_t offset = 0;  // bytes from the row's start
  int heads = 1;

  int head_width() const { return width / heads; }
  int64_t head_bytes() const { return kv_head_bytes(format, head_width()); }
  int64_t bytes() const { return heads * head_bytes(); }
};

// One token in one layer. GQA keeps key and value; MLA keeps latent and, with sparse attention, index.
struct KvRow {
  KvPart key, value;  // [kv_heads * head_dim] each
  KvPart latent;      // [kv_lora + rope], one head: the normalised latent, then the turned rope part
  KvPart index;       // [index width]
  int64_t bytes = 0;
};

// Lays the parts that have a width one after the other; bytes is rounded up to a multiple of 16.
KvRow lay_out(KvRow parts);

// Rows of all layers, the MTP layers last.
using KvLayout = std::vector<KvRow>;

int64_t page_bytes(const KvLayout& layout);  // of all layers together

// What a sequence remembers: token t is row t % 64 of page pages[t / 64]. No pointers, so it can be sent or
// stored.
struct KvView {
  std::vector<int32_t> pages;
  int length = 0;      // tokens whose rows are there
  int mtp_length = 0;  // of them, those whose rows of the MTP layer are there as well
};

}  // namespace minke

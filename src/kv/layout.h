#pragma once
// What a token leaves behind in each layer, and where: rows, and pages of 64 rows (docs/internals.md).

#include <cstddef>
#include <cstdint>
#include <vector>

#include "quant/kv_format.h"

namespace minke {

// Some numbers of a row. Width 0: the row has no such part.
struct KvPart {
  KvFormat format = KvFormat::f32;
  int width = 0;       // numbers
  int64_t offset = 0;  // bytes from the row's start
};

// One token in one layer. GQA keeps key and value; MLA keeps latent and, with sparse attention, index.
struct KvRow {
  KvPart key, value;  // [kv_heads * head_dim] each
  KvPart latent;      // [kv_lora + rope]: the normalised latent, then the turned rope part
  KvPart index;       // [index width]
  int64_t bytes = 0;
};

// Lays the parts that have a width one after the other; bytes is rounded up to a multiple of 64.
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

#include "kv/layout.h"

namespace minke {

KvRow lay_out(KvRow parts) {
  int64_t offset = 0;
  for (KvPart* part : {&parts.key, &parts.value, &parts.latent, &parts.index}) {
    if (part->width == 0) continue;
    offset = (offset + 3) / 4 * 4;
    part->offset = offset;
    offset += part->bytes();
  }
  parts.bytes = (offset + 15) / 16 * 16;
  return parts;
}

int64_t page_bytes(const KvLayout& layout) {
  int64_t bytes = 0;
  for (const KvRow& row : layout) bytes += row.bytes * kPageTokens;
  return bytes;
}

}  // namespace minke

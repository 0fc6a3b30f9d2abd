#include "kv/layout.h"

#include "base/error.h"

namespace minke {

KvFormats kv_formats(std::string_view text) {
  const auto named = [&](std::string_view part) {
    std::string all;
    for (const KvFormat f : kKvFormats) all += (all.empty() ? "" : ", ") + std::string(name(f));
    const auto format = kv_format(part);
    if (!format) throw Error(fmt::format("unknown cache format '{}'", part), "--kv", "there are " + all);
    return *format;
  };
  const size_t comma = text.find(',');
  if (comma == text.npos) return named(text);
  constexpr std::string_view kIndex = "index=";
  const std::string_view rest = text.substr(comma + 1);
  if (!rest.starts_with(kIndex))
    throw Error(fmt::format("'{}' is no format of a part", rest), "--kv", "bf16,index=int8 would be one");
  return {named(text.substr(0, comma)), named(rest.substr(kIndex.size()))};
}

std::string text_of(const KvFormats& formats) {
  std::string text = name(formats.rows);
  if (formats.index != formats.rows) text += std::string(",index=") + name(formats.index);
  return text;
}

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

#include "engine/identity.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "kv/page_key.h"

namespace minke {
namespace {

constexpr int kRowsVersion = 1;  // counts up when kernels begin to give other bits
constexpr size_t kSample = 256;  // bytes seen of a tensor: of each, for reading all would take too long

}  // namespace

std::string cache_identity(const Model& model, const InstanceOptions& options) {
  const Limits& l = options.limits;
  std::string all =
      fmt::format("rows {}, {}, kv {}, rounded {}, decompressed {}, mtp {}\n", kRowsVersion,
                  model.config.arch, text_of(l.kv), options.round_activations, l.decompress, l.mtp);
  for (const TensorView& t : tensors_of(model)) {
    const size_t bytes = std::min(kSample, t.bytes.size());
    all += fmt::format("{} {} {}\n", t.name, name(t.format), fmt::join(t.shape, " "));
    all += as_text(t.bytes.subspan((t.bytes.size() - bytes) / 2, bytes));
  }
  return hex(first_key(all));
}

}  // namespace minke

#include "engine/identity.h"

#include <fmt/format.h>

#include "kv/page_key.h"
#include "model/adapters.h"

namespace minke {
namespace {

constexpr int kRowsVersion = 5;  // counts up when kernels begin to give other bits

}  // namespace

std::string cache_identity(const Model& model, const InstanceOptions& options) {
  const Limits& l = options.limits;
  std::string all =
      fmt::format("rows {}, {}, kv {}, rounded {}, decompressed {}, mtp {}\n", kRowsVersion,
                  model.config.arch, text_of(l.kv), options.round_activations, l.decompress, l.mtp);
  all += sample_of(model);
  for (const LayerAdapters& layer : model.weights.adapters)
    for (const AdaptedMatrix& m : adapted_matrices())
      if (const Adapter& adapter = layer.*m.adapter; adapter) {
        all += fmt::format("{} {}", m.name, adapter.scale);
        for (const Mat& mat : {adapter.a, adapter.b})
          all += ' ' + hex(first_key(as_text({mat.data, static_cast<size_t>(mat.bytes())})));
      }
  return hex(first_key(all));
}

}  // namespace minke

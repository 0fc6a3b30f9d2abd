// room: model
// Any JSON is the config.json of a model that can be counted and planned, or is refused with an Error that
// names the file.

#include "base/error.h"
#include "model/architecture.h"
#include "model/state.h"
#include "model/weights.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minke;
  try {
    const Json json = parse_json({reinterpret_cast<const char*>(data), size});
    // What the config asks about tensors is answered by chance, but always the same.
    const auto has = [&](std::string_view name) { return (name.size() + size) % 2 == 0; };
    const Config config = config_from_json(json, "fuzzed", has, {});
    MINKE_CHECK(config.layers > 0 && config.dim > 0 && config.vocab > 0 && config.heads > 0);
    for (int layer = 0; layer < config.layers; ++layer) MINKE_CHECK(config.lookback(layer) >= 0);
    for (const int32_t id : config.eos) MINKE_CHECK(id >= 0 && id < config.vocab);

    Limits limits;
    limits.rows = 8;
    limits.context = 64;
    MINKE_CHECK(state_bytes(config, limits) > 0);
    MINKE_CHECK(page_bytes(kv_layout(config, limits.kv)) > 0);
    for (const float f : rope_frequencies(config.rope)) MINKE_CHECK(f == f);
    const int64_t experts = config.moe ? config.moe->router.experts : 0;
    if (experts * config.layers > 100'000) return 0;  // counted as any other, but it takes its time
    for_each_weight(config, [](const WeightSlot& slot) { MINKE_CHECK(slot.rows > 0 && slot.cols > 0); });
  } catch (const Error&) {
  }
  return 0;
}

// room: model
// Any bytes are a GGUF file whose model runs a token, or are refused with an Error.

#include <sys/mman.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "model/instance.h"
#include "model/load.h"

namespace {

using namespace minke;

// A file without a name.
class MemoryFile {
 public:
  explicit MemoryFile(Bytes bytes) : fd_(memfd_create("fuzzed", 0)) {
    MINKE_CHECK(fd_ >= 0 && write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  fs::path path() const { return fmt::format("/proc/self/fd/{}", fd_); }

 private:
  int fd_;
};

void run_a_token(const Model& model) {
  InstanceOptions o;
  o.limits.rows = 2;
  o.limits.context = 64;
  o.limits.threads = 1;
  // Numbers that no tensor bears out may ask for more than a test has (the indexer's topk, for one).
  const Limits limits = resolved_limits(model, o);
  constexpr int64_t kMost = 64 << 20;
  if (state_bytes(model.config, limits) > kMost ||
      page_bytes(kv_layout(model.config, limits.kv)) * pages_for(limits) > kMost)
    return;
  Instance instance(model, o);
  KvView view;
  MINKE_CHECK(instance.kv().reserve(view, 2));
  const Token tokens[] = {0, model.config.vocab - 1};
  const SequenceSlice slice{&view, 0, 2, 0, Want::last_logits};
  instance.forward({tokens, {&slice, 1}, {}});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(Bytes(reinterpret_cast<const std::byte*>(data), size));
  LoadOptions dry;
  dry.dry = true;
  bool counted = false;
  try {
    load_model(file.path(), dry);
    counted = true;
    const Model model = load_model(file.path());
    run_a_token(model);
  } catch (const Error&) {
    MINKE_CHECK(!counted);  // a GGUF has no FP8 whose values a dry run leaves out
  }
  return 0;
}

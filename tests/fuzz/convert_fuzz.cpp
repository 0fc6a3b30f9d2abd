// room: model
// What is planned for the folder of any GGUF model: its config.json is read back as the same model, its
// tokenizer is one or is refused with an Error.

#include <sys/mman.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/general_keys.h"
#include "model/architecture.h"
#include "model/convert.h"
#include "text/tokenizer_files.h"

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

void convert(const Model& model) {
  const Conversion plan = plan_conversion(model, {});
  const auto has = [&](std::string_view name) {
    for (const TargetTensor& t : plan.tensors)
      if (t.to.name == name) return true;
    return false;
  };
  const Json json = parse_json(to_string(config_to_json(plan.config, "bfloat16")));
  const std::set<std::string> none;
  Config again;
  try {
    again = config_from_json(json, "config.json", has, none);
  } catch (const Error& e) {
    MINKE_CHECK(false, "{}", e.what());
  }
  const Config& c = plan.config;
  MINKE_CHECK(again.layers == c.layers && again.dim == c.dim && again.heads == c.heads &&
              again.vocab == c.vocab);
  MINKE_CHECK(again.moe.has_value() == c.moe.has_value() && again.mla == c.mla && again.indexer == c.indexer);
  MINKE_CHECK(again.norm_eps == c.norm_eps && again.mtp_layers == c.mtp_layers && again.tied == c.tied);
  const Gguf& gguf = *model.gguf();
  for (const auto& [name, text] : read_licence_files(gguf)) MINKE_CHECK(name.find('/') == name.npos);
  model_card(gguf, c.name, "fuzzed");
  const TokenizerFiles tokenizer = TokenizerFiles::read(gguf);
  Tokenizer::from_json(to_string(tokenizer.tokenizer_json()), "tokenizer.json",
                       to_string(tokenizer.tokenizer_config(c.context)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(Bytes(reinterpret_cast<const std::byte*>(data), size));
  LoadOptions dry;
  dry.dry = true;
  try {
    convert(load_model(file.path(), dry));
  } catch (const Error&) {
  }
  return 0;
}

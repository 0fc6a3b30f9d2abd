// room: formats
// Whatever stands in the small files of a model's folder, it opens or is refused with an Error that names the
// folder. The first byte chooses the file.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <unistd.h>

#include "base/error.h"
#include "formats/hf_folder.h"

namespace {

using namespace minke;

constexpr const char* kFiles[] = {"config.json",
                                  "generation_config.json",
                                  "tokenizer_config.json",
                                  "model.safetensors.index.json",
                                  "chat_template.json",
                                  "chat_template.jinja",
                                  "README.md",
                                  "model.safetensors"};

void write(const fs::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

fs::path folder() {
  const fs::path memory = "/dev/shm";
  const fs::path path = (fs::is_directory(memory) ? memory : fs::temp_directory_path()) /
                        ("minke-hf-folder-fuzz-" + std::to_string(::getpid()));
  fs::create_directories(path);
  return path;
}

constexpr std::string_view kHeader = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"
                                     "  ";

// A folder with one good model, which goes away with the process.
struct Folder {
  fs::path path = folder();
  Folder() {
    const uint64_t bytes = kHeader.size();
    weights.assign(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    weights += kHeader;
    weights += std::string(8, '\0');
    write(path / "config.json", R"({"model_type": "llama"})");
    write(path / "model.safetensors", weights);
  }
  ~Folder() { fs::remove_all(path); }
  std::string weights;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  if (size == 0) return 0;
  const char* file = kFiles[data[0] % std::size(kFiles)];
  const fs::path path = folder.path / file;
  write(path, {reinterpret_cast<const char*>(data) + 1, size - 1});
  try {
    const HfFolder model = HfFolder::open(folder.path);
    MINKE_CHECK(model.config.is_object());
    for (const TensorView& tensor : model.weights.tensors())
      MINKE_CHECK(model.weights.tensor(tensor.name) == &tensor && !tensor.describe().empty());
  } catch (const Error& error) {
    MINKE_CHECK(error.subject().starts_with(folder.path.string()), "{}", error.what());
  }
  if (path.filename() == "config.json")
    write(path, R"({"model_type": "llama"})");
  else if (path.filename() == "model.safetensors")
    write(path, folder.weights);
  else
    fs::remove(path);
  return 0;
}

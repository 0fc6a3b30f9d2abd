#pragma once
// Which files of a repository make a model: one quantisation of several, all parts of a split, or the folder
// of a safetensors model.

#include <string>
#include <string_view>
#include <vector>

namespace minke {

// "Q4_K_M" of "Model-Q4_K_M.gguf", "model.q4_k_m-00001-of-00002.gguf" or "Q4_K_M/model.gguf", in capitals;
// empty where the name tells none.
std::string quant_in_name(std::string_view path);

// The path without "-00001-of-00003.gguf" or ".gguf".
std::string gguf_stem(std::string_view path);

// One model in GGUF: a file, or all parts of a split.
struct GgufModel {
  std::string quant = {};               // as quant_in_name
  std::vector<std::string> files = {};  // the parts there are, in order; the first is the one to open
  size_t parts = 1;                     // how many there should be
  bool complete() const { return files.size() == parts; }
};

// The models among these paths, in order of their names. Projectors (mmproj) and importance data are none.
std::vector<GgufModel> gguf_models(const std::vector<std::string>& paths);

constexpr const char* kSafetensors = "model.safetensors";
constexpr const char* kSafetensorsIndex = "model.safetensors.index.json";

struct FileChoice {
  std::vector<std::string> files = {};  // to fetch, in order; of a GGUF model the first is the one to open
  std::string quant = {};               // of a GGUF model
  bool safetensors = false;             // the files are a folder to open
  bool sharded = false;  // of it: its weights are those the index names, not yet among the files
};

// What `select` means among these paths. Empty: the safetensors model where there is one, else the only GGUF
// model, else Q4_K_M. Otherwise "safetensors", a quantisation in any case ("q4_k_xl" finds UD-Q4_K_XL too),
// or a file, by its path or its last part. Throws Error naming `subject` and listing what there is, where
// nothing fits or too much.
FileChoice choose_files(const std::vector<std::string>& paths, std::string_view select,
                        std::string_view subject);

}  // namespace minke

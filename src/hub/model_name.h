#pragma once
// Names as users write them: "org/name", "org/name:Q4_K_M", "org/name:folder/file.gguf@v2", "hf:org/name".

#include <string>
#include <string_view>

namespace minke {

struct ModelName {
  std::string repo;      // "org/name"; of a few old models only "name"
  std::string select;    // a file or the name of a quantisation; empty: the usual choice
  std::string revision;  // a branch, a tag or a commit; empty: not said, which is "main"

  std::string text() const;  // as it can be given again
};

// [hf:|hf://]ORG/NAME[:SELECT][@REVISION]; without an org only after hf:. Throws Error naming the text.
ModelName parse_model_name(std::string_view text);

// Whether the text has the form of a model on the hub, so that parse_model_name would take it.
bool is_model_name(std::string_view text);

// Throws Error naming the path, where a file of this name could not be kept under a folder of ours: absolute,
// "..", backslashes, control characters, empty parts, names the file system has no room for.
void check_repo_path(std::string_view path);

}  // namespace minke

#pragma once
// Flags that every command with a model shares.

#include <optional>
#include <string>
#include <vector>

#include "model/instance.h"

namespace CLI {
class App;
}

namespace minke {

struct ModelFlags {
  std::string model;
  std::vector<std::string> allowed;
  std::string isa;
  int threads = 0;
  std::string kv = "bf16";

  void add_model(CLI::App& command);    // MODEL and --allow-field
  void add_kv(CLI::App& command);       // --kv
  void add_machine(CLI::App& command);  // --isa and --threads

  fs::path path() const;  // of the model: the name resolved
  LoadOptions load_options() const;
  Model load() const;                     // with a progress bar where it takes long
  std::optional<Isa> chosen_isa() const;  // throws Error naming the flag
  KvFormats kv_formats() const;           // throws Error naming the flag
};

}  // namespace minke

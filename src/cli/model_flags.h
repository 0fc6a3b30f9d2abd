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

// -t, --threads; 0 stands for what `otherwise` says.
void add_threads(CLI::App& command, int& threads, const std::string& otherwise = "one per physical core");
void add_isa(CLI::App& command, std::string& isa);  // --isa
// The set that --isa names, none where it is empty. Throws Error naming the flag: unknown, or not of this
// machine and this build.
std::optional<Isa> chosen_isa(const std::string& isa);

struct ModelFlags {
  std::string model;
  std::vector<std::string> allowed;
  std::string isa;
  int threads = 0;
  std::string kv = "bf16";
  std::string huge_pages = "auto", numa = "off";
  bool lock = false, repack = false;
  std::string adapters;

  void add_model(CLI::App& command);     // MODEL and --allow-field
  void add_adapters(CLI::App& command);  // --lora
  void add_kv(CLI::App& command);        // --kv
  void add_machine(CLI::App& command);   // --isa, --threads, and where the weights lie

  fs::path path() const;  // of the model: the name resolved
  LoadOptions load_options() const;
  // With a progress bar where it takes long; what the machine would not give is said on standard error.
  Model load() const;
  std::optional<Isa> chosen_isa() const;  // throws Error naming the flag
  KvFormats kv_formats() const;           // throws Error naming the flag
};

}  // namespace minke

#pragma once
// What was trained, as other programs read it.

#include <span>

#include "base/file.h"
#include "train/adapter.h"
#include "train/parameters.h"

namespace minke {

// A Hugging Face folder: config.json and weights (matrices in `format`, F32 or BF16; vectors F32), with
// copies of `files` beside them. It appears whole, over what was there. Throws Error naming the path.
void save_model(const fs::path& folder, const Config& config, const Weights& weights, Format format,
                std::span<const fs::path> files);

// Adapters of a model with this config as a folder that PEFT loads; base: what they are adapters of.
void save_adapters(const fs::path& folder, const Config& config, const LoraConfig& lora,
                   const Adapters& adapters, const std::string& base);

}  // namespace minke

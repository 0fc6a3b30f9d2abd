#pragma once
// The general.* keys of GGUF files that say where a model comes from and how its authors want it used, and
// what of a Hugging Face folder stands for them.

#include <string>
#include <utility>
#include <vector>

#include "formats/gguf_writer.h"
#include "formats/hf_folder.h"

namespace minke {

// general.sampling.*, as far as generation_config.json has it too. Nothing where there is none; of another
// type: as if it were not there.
GenerationAdvice read_sampling_keys(const Gguf& gguf);
void add_sampling_keys(GgufHeader& header, const GenerationAdvice& advice);

// A folder's licence: its name from the model card, and the files' texts under keys of our own. Files that
// are no text, or larger than a megabyte, are left out and named.
std::vector<std::string> add_licence_keys(GgufHeader& header, const HfFolder& folder);
// (file name, text) of what add_licence_keys put there. Names that are no licence's are left out.
std::vector<std::pair<std::string, std::string>> read_licence_files(const Gguf& gguf);

// README.md of a folder that is made of a GGUF file: licence in the front matter, and where it comes from.
// `source`: what users call the file.
std::string model_card(const Gguf& gguf, const std::string& name, const std::string& source);

}  // namespace minke

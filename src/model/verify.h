#pragma once
// A model against reference tensors computed elsewhere (tests/golden/README.md).

#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "model/instance.h"

namespace minke {

struct Feed {
  enum Kind { whole, ragged, single } kind = whole;
  uint64_t seed = 0;  // ragged: pieces of random length, with another sequence in every batch
};

struct VerifyOptions {
  Feed feed;
  std::optional<Isa> isa;
  int threads = 0;
  double tolerance = 1e-4;
  bool round_activations = false;
  KvFormat kv = KvFormat::f32;
};

// One tensor of the reference.
struct Compared {
  std::string name;
  bool exact = false;    // integers, to be equal
  double figure = 0;     // max|a - b| / max|b| over finite values; for integers the share that differs
  double mean = 0;       // mean |a - b|
  double tolerance = 0;  // what the figure may be
  std::string fault;     // what is wrong beyond the figure: another shape, another pattern of -inf
  bool ok() const { return fault.empty() && figure <= tolerance; }
};

// Runs the model over the reference's input_ids and compares everything the reference has. Throws Error
// naming a tensor it does not know, or one this model cannot give.
std::vector<Compared> verify(const Model& model, const Safetensors& golden, const VerifyOptions& options);

}  // namespace minke

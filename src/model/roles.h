#pragma once
// How files name the weights, and in what shape they hold them.

#include <string>
#include <string_view>
#include <vector>

#include "model/weights.h"

namespace minke {

// What turns a tensor of a file into the weight in memory.
enum class Transform : uint8_t {
  as_is,              // rows [0, slot.rows) of a matrix, or the vector
  expert_slice,       // expert e of a stack [E][rows][cols]
  head_stack,         // a stack [H][..][cols], rows of all heads together
  kv_b_keys,          // kv_b [H * (nope + v)][kv_lora]: each head's first nope rows, transposed
  kv_b_values,        // ... each head's last v rows
  gate_half,          // Llama 4's [E][D][2 I] of one expert, columns [0, I), transposed
  up_half,            // ... columns [I, 2 I), transposed
  expert_transposed,  // [E][I][D] of one expert, transposed
  gate_rows,          // fused stack [E][2 I][D]: the first I rows of one expert
  up_rows,            // ... the last I rows
};

struct Source {
  std::string name;
  Transform transform = Transform::as_is;
};

// Where a weight may be found, the first that is there being taken. Throws nothing; an empty list is a
// mistake of the caller.
std::vector<Source> sources_of(const Config& config, const WeightSlot& slot, Container container);

// Saving takes the first source of a weight, and the inverse of its transform. Further names under which
// files hold the same weight once more: copies of embedding and head in the MTP layers of published folders.
std::vector<std::string> copies_of(const Config& config, const WeightSlot& slot, Container container);

// Whether files of the container keep rows of queries and keys in two halves, (i, i + dims / 2) being turned
// together, or in pairs (2i, 2i + 1). Llama's differ, and saving moves its rows.
bool rope_half_in(const Config& config, Container container);
// Whether the rows of such a weight (a vector's numbers) are moved then.
bool has_rope_rows(Role role);
// From which row of a weight that is kept one way comes row r of the other. dims: rows of a head; half: the
// target keeps halves.
int64_t turned_row(int64_t r, int64_t dims, bool half);

// Tensors a file may hold that no weight is made of (copies of shared tensors, what the config said already,
// other modalities).
bool is_known_extra(const Config& config, std::string_view tensor, Container container);

}  // namespace minke

#pragma once
// Tokens, and text that remembers where it came from.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace minke {

using Token = int32_t;

// A run of prompt text. `given` is what came from messages, tools or other data; the rest are the template's
// own literals, bos and eos. Only the template may speak in added tokens: what a user types stays text.
struct Piece {
  bool given = false;
  std::string text;
  bool operator==(const Piece&) const = default;
};
using Pieces = std::vector<Piece>;

// A part of a text, by bytes. Lists of them are sorted and neither overlap nor touch.
struct TextRun {
  size_t begin, end;
  bool operator==(const TextRun&) const = default;
};

std::string plain(const Pieces& pieces);  // the pieces' text, joined

}  // namespace minke

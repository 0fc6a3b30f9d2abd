#include "train/packing.h"

#include <map>

namespace minke {
namespace {

constexpr size_t kOpen = 256;  // rows that wait for what fits

}  // namespace

std::vector<Placed> pack_whole(std::span<const uint32_t> order, std::span<const uint32_t> tokens, int row) {
  std::vector<Placed> placed;
  std::multimap<uint32_t, std::vector<Placed>> open;  // by the room they have
  const auto close = [&](uint32_t room, const std::vector<Placed>& documents) {
    placed.insert(placed.end(), documents.begin(), documents.end());
    if (room > 0) placed.push_back({Placed::kPadding, room});
  };
  const auto length = static_cast<uint32_t>(row);
  for (const uint32_t document : order) {
    const uint32_t size = tokens[document];
    const auto best = open.lower_bound(size);
    std::vector<Placed> bin;
    uint32_t room = (length - size % length) % length;  // of a row, or of the last of several
    if (best != open.end()) {
      room = best->first - size;
      bin = std::move(best->second);
      open.erase(best);
    }
    bin.push_back({document, size});
    if (room == 0) {
      close(0, bin);
      continue;
    }
    open.emplace(room, std::move(bin));
    if (open.size() <= kOpen) continue;
    close(open.begin()->first, open.begin()->second);
    open.erase(open.begin());
  }
  for (const auto& [room, documents] : open) close(room, documents);
  return placed;
}

}  // namespace minke

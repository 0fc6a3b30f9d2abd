#include "train/batch.h"

#include <algorithm>

#include "base/error.h"

namespace minke {
namespace {

int64_t not_negative(const std::vector<int32_t>& values) {
  return std::ranges::count_if(values, [](int32_t v) { return v >= 0; });
}

}  // namespace

int64_t TrainBatch::counted() const { return not_negative(targets); }
int64_t TrainBatch::counted_second() const { return not_negative(second); }

void add_sequence(TrainBatch& batch, int length, std::span<const Token> tokens,
                  std::span<const int32_t> starts, std::span<const uint8_t> loss) {
  MINKE_CHECK(length > 0 && !starts.empty() && starts[0] == 0 && tokens.size() == loss.size() &&
              static_cast<int>(tokens.size()) >= length);
  const int first = batch.rows(), all = static_cast<int>(tokens.size());
  batch.sequences.push_back({first, length});
  size_t document = 0;
  const auto start = [&](size_t i) { return i < starts.size() ? starts[i] : all; };
  for (int t = 0; t < length; ++t) {
    if (t == start(document)) {
      batch.documents.push_back({first + t, 0});
      ++document;
    }
    ++batch.documents.back().count;
    const int end = start(document);  // of this row's document
    const auto at = [&](int i, bool learned) {
      const size_t place = static_cast<size_t>(i);
      return i < end && (!learned || loss[place]) ? tokens[place] : -1;
    };
    batch.tokens.push_back(tokens[static_cast<size_t>(t)]);
    batch.targets.push_back(at(t + 1, true));
    batch.next.push_back(at(t + 1, false));
    batch.second.push_back(at(t + 2, true));
  }
}

}  // namespace minke

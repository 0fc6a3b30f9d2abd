#include "train/gathering.h"

#include <algorithm>

namespace minke {
namespace {

constexpr int64_t kBlock = 1 << 18;  // numbers of a message: 1 MB

// Where each weight of the list begins in a set of those that are chosen.
std::vector<int64_t> places(const Config& config, const ChosenWeights& chosen) {
  std::vector<int64_t> all;
  int64_t at = 0;
  for_each_weight(config, [&](const WeightSlot& slot) {
    all.push_back(at);
    if (!chosen || chosen(slot)) at += padded_count(slot);
  });
  return all;
}

// Everything that one rank answers for, as if it lay in one piece.
struct Stream {
  std::vector<RingShare> runs;  // in the whole
  size_t run = 0;
  int64_t in_run = 0, size = 0;

  // f(where in the whole, count) for the next `count` numbers.
  template <typename F>
  void take(int64_t count, const F& f) {
    while (count > 0) {
      const int64_t some = std::min(count, runs[run].count() - in_run);
      f(runs[run].begin + in_run, some);
      in_run += some;
      count -= some;
      if (in_run == runs[run].count()) {
        ++run;
        in_run = 0;
      }
    }
  }
};

// What every rank answers for; rank 0 alone needs to know.
std::vector<Stream> streams(const Comm& comm, const std::vector<RingShare>& mine) {
  std::vector<int64_t> counts(static_cast<size_t>(comm.size), 0);
  counts[static_cast<size_t>(comm.rank)] = static_cast<int64_t>(mine.size());
  sum(comm, std::span(counts));
  std::vector<Stream> all(static_cast<size_t>(comm.size));
  for (size_t r = 0; r < all.size(); ++r) {
    all[r].runs = mine;
    all[r].runs.resize(static_cast<size_t>(counts[r]));
    // As sums with nothing of the others': these lists are short beside the numbers.
    std::vector<int64_t> flat;
    for (const RingShare& run : all[r].runs) flat.insert(flat.end(), {run.begin, run.end});
    if (static_cast<int>(r) != comm.rank) std::ranges::fill(flat, 0);
    sum(comm, std::span(flat));
    for (size_t i = 0; i < all[r].runs.size(); ++i) all[r].runs[i] = {flat[2 * i], flat[2 * i + 1]};
    for (const RingShare& run : all[r].runs) all[r].size += run.count();
  }
  return all;
}

}  // namespace

std::vector<HeldPart> held_parts(const Config& config, const ChosenWeights& chosen, const Weights& set,
                                 int rank, bool first) {
  std::vector<HeldPart> parts;
  const std::vector<int64_t> at = places(config, chosen);
  Weights weights = set;  // views only
  size_t i = 0;
  for_each_weight(config, weights, [&](const WeightSlot& slot, Mat& m) {
    const int64_t place = at[i++];
    if (m)
      parts.push_back(
          {place, {data(m), static_cast<size_t>(slot.count())}, slot.expert < 0 ? rank == 0 : first});
  });
  return parts;
}

std::vector<HeldPart> moment_parts(const Config& config, const ChosenWeights& chosen,
                                   std::span<const TrainedTensor> own, float* TrainedTensor::* moment) {
  std::vector<HeldPart> parts;
  const std::vector<int64_t> at = places(config, chosen);
  for (const TrainedTensor& t : own)
    parts.push_back(
        {at[static_cast<size_t>(t.slot)] + t.offset, {t.*moment, static_cast<size_t>(t.count())}});
  return parts;
}

void collect(const Comm& comm, std::span<const HeldPart> parts, std::span<float> whole) {
  std::vector<RingShare> mine;
  for (const HeldPart& p : parts)
    if (p.answers) mine.push_back({p.at, p.at + static_cast<int64_t>(p.numbers.size())});
  std::vector<Stream> all = streams(comm, mine);
  int64_t longest = 0;
  for (const Stream& s : all) longest = std::max(longest, s.size);
  std::vector<float> out;  // the next block of what this rank gives
  size_t part = 0, in_part = 0;
  const auto refill = [&](size_t count) {
    out.clear();
    while (out.size() < count) {
      const HeldPart& p = parts[part];
      const size_t some = p.answers ? std::min(count - out.size(), p.numbers.size() - in_part) : 0;
      out.insert(out.end(), p.numbers.begin() + static_cast<int64_t>(in_part),
                 p.numbers.begin() + static_cast<int64_t>(in_part + some));
      in_part += some;
      if (!p.answers || in_part == p.numbers.size()) {
        ++part;
        in_part = 0;
      }
    }
  };
  std::vector<float> in(comm.rank == 0 ? static_cast<size_t>(kBlock * comm.size) : 0);
  std::vector<int64_t> counts(all.size());
  for (int64_t done = 0; done < longest; done += kBlock) {
    for (size_t r = 0; r < all.size(); ++r) counts[r] = std::clamp<int64_t>(all[r].size - done, 0, kBlock);
    refill(static_cast<size_t>(counts[static_cast<size_t>(comm.rank)]));
    gather(comm, out, counts, in.data());
    if (comm.rank != 0) continue;
    auto from = in.begin();
    for (size_t r = 0; r < all.size(); ++r)
      all[r].take(counts[r], [&](int64_t at, int64_t count) {
        std::copy_n(from, count, whole.begin() + at);
        from += count;
      });
  }
}

void distribute(const Comm& comm, std::span<const float> whole, int64_t count,
                std::span<const HeldPart> parts) {
  std::vector<float> block(static_cast<size_t>(std::min(kBlock, count)));
  size_t next = 0;  // part that does not end before the block; they are in order
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, count);
    const std::span<float> now = std::span(block).first(static_cast<size_t>(end - begin));
    if (comm.rank == 0) std::copy_n(whole.begin() + begin, end - begin, now.begin());
    broadcast(comm, std::as_writable_bytes(now));
    const auto end_of = [&](size_t i) { return parts[i].at + static_cast<int64_t>(parts[i].numbers.size()); };
    while (next < parts.size() && end_of(next) <= begin) ++next;
    for (size_t i = next; i < parts.size() && parts[i].at < end; ++i) {
      const int64_t from = std::max(parts[i].at, begin), to = std::min(end_of(i), end);
      std::copy(now.begin() + (from - begin), now.begin() + (to - begin),
                parts[i].numbers.begin() + (from - parts[i].at));
    }
  }
}

}  // namespace minke

#pragma once
// What the ranks of a group do together. All of them call the same in the same order, each on the thread that
// joined; alone (Comm{}) everything is where it belongs already.
//
// Sums go round a ring (reduce-scatter, then all-gather): each rank adds up one share and passes on the
// others, 2 (R - 1) / R of the numbers in all. A number is added up in one order and on one rank, so that all
// ranks get the same bits, and get them again; a sum and a reduce-scatter agree in them as well.

#include <string>
#include <vector>

#include "comm/ranks.h"

namespace minke {

// The numbers of `count` that belong to a rank: equal shares, in whole cache lines; the last may be less.
struct RingShare {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};
RingShare ring_share(int64_t count, int ranks, int rank);

// A collective under way. It moves only while its rank is in a function of this page, so it is to be advanced
// now and then between computations.
class Pending {
 public:
  class Work {
   public:
    virtual ~Work() = default;
    virtual bool advance() = 0;
    virtual void finish() = 0;
  };

  explicit Pending(std::unique_ptr<Work> work = nullptr) : work_(std::move(work)) {}
  bool advance() { return !work_ || work_->advance(); }  // whether it is done
  void finish() {
    if (work_) work_->finish();
  }

 private:
  std::unique_ptr<Work> work_;
};

// The numbers must stay where they are until it is done.
Pending start_sum(const Comm& comm, std::span<float> numbers);
Pending start_reduce_scatter(const Comm& comm, std::span<float> numbers);  // each rank: its own share
Pending start_all_gather(const Comm& comm, std::span<float> numbers);      // from each rank its share

void sum(const Comm& comm, std::span<double> numbers);
void sum(const Comm& comm, std::span<int64_t> numbers);

// Bytes that a rank sends on average for a sum of so many; for either half of it, half as many.
double sum_traffic(double bytes, int ranks);

Pending start_all_to_all(const Comm& comm, const RowExchange& rows);  // the memory likewise
void all_to_all(const Comm& comm, const RowExchange& rows);
void broadcast(const Comm& comm, std::span<std::byte> bytes);      // from rank 0
std::string broadcast(const Comm& comm, const std::string& text);  // rank 0's
void gather(const Comm& comm, std::span<const float> mine, std::span<const int64_t> counts, float* all);
void barrier(const Comm& comm);
Comm split(const Comm& comm, int colour);
Traffic traffic(const Comm& comm);  // of this rank so far

}  // namespace minke

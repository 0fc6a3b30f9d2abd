#include "comm/collectives.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace minke {
namespace {

// As long as it lives, a rank does nothing but wait.
class Waiting {
 public:
  explicit Waiting(const Comm& comm) : traffic_(comm.ranks->traffic()) {}
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() { traffic_.waited += std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Traffic& traffic_;
  const Clock::time_point start_ = Clock::now();
};

enum class Half : uint8_t { both, reduce_scatter, all_gather };

// Numbers on their way round the ring. At each of its steps a rank sends a share to the next one and receives
// another from the one before. While adding up, the share received has been added up by as many ranks as
// there were steps, and the last that a rank receives is its own.
template <typename T>
class Ring : public Pending::Work {
 public:
  Ring(const Comm& comm, std::span<T> numbers, Half half)
      : comm_(comm),
        numbers_(numbers),
        step_(half == Half::all_gather ? comm.size - 1 : 0),
        end_(half == Half::reduce_scatter ? comm.size - 1 : 2 * (comm.size - 1)),
        tag_(comm.ranks->next_tag()) {
    if (adds()) received_.resize(static_cast<size_t>(share(0).count()));  // no other is larger
    start();
  }

  bool advance() override {
    while (message_ && message_->done()) take();
    return !message_;
  }
  void finish() override {
    while (message_) {
      {
        const Waiting waiting(comm_);
        message_->wait();
      }
      take();
    }
  }

 private:
  bool adds() const { return step_ < comm_.size - 1; }
  RingShare share(int rank) const {
    return ring_share(static_cast<int64_t>(numbers_.size()), comm_.size,
                      (rank + 2 * comm_.size) % comm_.size);
  }
  std::span<T> at(const RingShare& s) const {
    return numbers_.subspan(static_cast<size_t>(s.begin), static_cast<size_t>(s.count()));
  }
  // What is sent at this step, and what comes is the share before it.
  int outgoing() const { return adds() ? comm_.rank - step_ - 1 : comm_.rank - (step_ - (comm_.size - 1)); }

  void start() {
    if (step_ == end_) {
      message_ = nullptr;
      received_ = {};
      return;
    }
    const std::span<T> out = at(share(outgoing())), in = at(share(outgoing() - 1));
    const std::span<T> to = adds() ? std::span(received_).first(in.size()) : in;
    comm_.ranks->traffic().bytes += static_cast<int64_t>(out.size_bytes());
    message_ =
        comm_.ranks->exchange(std::as_bytes(out), (comm_.rank + 1) % comm_.size, std::as_writable_bytes(to),
                              (comm_.rank + comm_.size - 1) % comm_.size, tag_);
  }

  void take() {
    if (adds()) {
      const std::span<T> own = at(share(outgoing() - 1));
      T* __restrict to = own.data();
      const T* __restrict from = received_.data();
      for (size_t i = 0; i < own.size(); ++i) to[i] += from[i];
    }
    ++step_;
    start();
  }

  const Comm comm_;
  const std::span<T> numbers_;
  int step_;
  const int end_, tag_;
  std::vector<T> received_;
  std::unique_ptr<Message> message_;
};

class Exchange : public Pending::Work {
 public:
  Exchange(const Comm& comm, std::unique_ptr<Message> message) : comm_(comm), message_(std::move(message)) {}
  bool advance() override { return message_->done(); }
  void finish() override {
    const Waiting waiting(comm_);
    message_->wait();
  }

 private:
  const Comm comm_;
  std::unique_ptr<Message> message_;
};

template <typename T>
Pending start(const Comm& comm, std::span<T> numbers, Half half) {
  if (comm.size == 1 || numbers.empty()) return Pending();
  return Pending(std::make_unique<Ring<T>>(comm, numbers, half));
}

}  // namespace

RingShare ring_share(int64_t count, int ranks, int rank) {
  constexpr int64_t kLine = 16;
  const int64_t each = ((count + ranks - 1) / ranks + kLine - 1) / kLine * kLine;
  return {std::min(each * rank, count), std::min(each * (rank + 1), count)};
}

Pending start_sum(const Comm& comm, std::span<float> numbers) { return start(comm, numbers, Half::both); }
Pending start_reduce_scatter(const Comm& comm, std::span<float> numbers) {
  return start(comm, numbers, Half::reduce_scatter);
}
Pending start_all_gather(const Comm& comm, std::span<float> numbers) {
  return start(comm, numbers, Half::all_gather);
}

void sum(const Comm& comm, std::span<double> numbers) { start(comm, numbers, Half::both).finish(); }
void sum(const Comm& comm, std::span<int64_t> numbers) { start(comm, numbers, Half::both).finish(); }

double sum_traffic(double bytes, int ranks) { return 2 * bytes * (ranks - 1) / ranks; }

Pending start_all_to_all(const Comm& comm, const RowExchange& rows) {
  if (!comm.ranks) {
    std::copy_n(rows.out, rows.out_rows[0] * rows.row_bytes, rows.in);
    return Pending();
  }
  for (int i = 0; i < comm.size; ++i)
    if (i != comm.rank) comm.ranks->traffic().bytes += rows.out_rows[static_cast<size_t>(i)] * rows.row_bytes;
  return Pending(std::make_unique<Exchange>(comm, comm.ranks->start_all_to_all(rows)));
}

void all_to_all(const Comm& comm, const RowExchange& rows) { start_all_to_all(comm, rows).finish(); }

void broadcast(const Comm& comm, std::span<std::byte> bytes) {
  if (!comm.ranks) return;
  if (comm.rank == 0) comm.ranks->traffic().bytes += static_cast<int64_t>(bytes.size()) * (comm.size - 1);
  const Waiting waiting(comm);
  comm.ranks->broadcast(bytes);
}

std::string broadcast(const Comm& comm, const std::string& text) {
  std::string all = text;
  int64_t size = static_cast<int64_t>(text.size());
  broadcast(comm, std::as_writable_bytes(std::span(&size, 1)));
  all.resize(static_cast<size_t>(size));
  broadcast(comm, std::as_writable_bytes(std::span(all)));
  return all;
}

void gather(const Comm& comm, std::span<const float> mine, std::span<const int64_t> counts, float* all) {
  MINKE_CHECK(static_cast<int64_t>(mine.size()) == counts[static_cast<size_t>(comm.rank)]);
  if (!comm.ranks) {
    std::ranges::copy(mine, all);
    return;
  }
  std::vector<int64_t> bytes;
  for (const int64_t count : counts) bytes.push_back(count * static_cast<int64_t>(sizeof(float)));
  if (comm.rank != 0) comm.ranks->traffic().bytes += static_cast<int64_t>(mine.size_bytes());
  const Waiting waiting(comm);
  comm.ranks->gather(std::as_bytes(mine), bytes, reinterpret_cast<std::byte*>(all));
}

void barrier(const Comm& comm) {
  if (!comm.ranks) return;
  const Waiting waiting(comm);
  comm.ranks->barrier();
}

Comm split(const Comm& comm, int colour) { return comm.ranks ? comm.ranks->split(colour) : comm; }
Traffic traffic(const Comm& comm) { return comm.ranks ? comm.ranks->traffic() : Traffic{}; }

}  // namespace minke

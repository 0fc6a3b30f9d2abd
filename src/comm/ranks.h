#pragma once
// What joins ranks to a group: messages between two, and the collectives that nothing is gained by building
// from them. MPI's is in mpi.cpp.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "comm/comm.h"

namespace minke {

// What goes out and what comes in, under way at the same time.
class Message {
 public:
  virtual ~Message() = default;
  virtual bool done() = 0;  // whether both have arrived; moves them on
  virtual void wait() = 0;
};

// Rows to each rank and from each, one after the other by rank.
struct RowExchange {
  const std::byte* out;
  std::span<const int64_t> out_rows;  // [ranks]
  std::byte* in;
  std::span<const int64_t> in_rows;  // [ranks]
  int64_t row_bytes;
};

// What a rank sent to others and how long it did nothing but wait for them, so far.
struct Traffic {
  int64_t bytes = 0;
  double waited = 0;  // seconds
};

class Ranks {
 public:
  virtual ~Ranks() = default;
  // Messages between two ranks with one tag arrive in the order they were sent in. Both pieces of memory stay
  // where they are until it is done.
  virtual std::unique_ptr<Message> exchange(std::span<const std::byte> out, int to, std::span<std::byte> in,
                                            int from, int tag) = 0;
  // What the exchange names stays where it is until it is done.
  virtual std::unique_ptr<Message> start_all_to_all(const RowExchange& rows) = 0;
  virtual void broadcast(std::span<std::byte> bytes) = 0;  // from rank 0
  // To rank 0, where `all` holds what every rank gave, by rank; bytes[i] is what rank i gives.
  virtual void gather(std::span<const std::byte> mine, std::span<const int64_t> bytes, std::byte* all) = 0;
  virtual void barrier() = 0;
  // The group of the ranks that give the same colour, ordered as here.
  virtual Comm split(int colour) = 0;

  // Of this rank, in this group and those split from it.
  virtual Traffic& traffic() = 0;
  int next_tag() { return tag_ = (tag_ + 1) % kTags; }  // the same on all ranks: they start the same things

 private:
  static constexpr int kTags = 1 << 14;  // MPI promises twice as many
  int tag_ = 0;
};

}  // namespace minke

#include "comm/mpi.h"

#include <cstdlib>

#if defined(MINKE_MPI)
#include <mpi.h>
#endif

#include <limits>
#include <vector>

#include "base/error.h"
#include "comm/ranks.h"

namespace minke {

#if defined(MINKE_MPI)

namespace {

// Errors of the library end the job with its own words (MPI_ERRORS_ARE_FATAL), so results are not looked at.
int count_of(int64_t count) {
  MINKE_CHECK(count >= 0 && count <= std::numeric_limits<int>::max(), "{} in one message", count);
  return static_cast<int>(count);
}

class MpiMessage : public Message {
 public:
  MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};

  bool done() override {
    int both = 0;
    MPI_Testall(2, requests, &both, MPI_STATUSES_IGNORE);
    return both != 0;
  }
  void wait() override { MPI_Waitall(2, requests, MPI_STATUSES_IGNORE); }
};

struct Counts {
  explicit Counts(std::span<const int64_t> from) {
    int64_t start = 0;
    for (const int64_t count : from) {
      counts.push_back(count_of(count));
      starts.push_back(count_of(start));
      start += count;
    }
  }
  std::vector<int> counts, starts;
};

// MPI reads the counts until it is done.
class MpiExchange : public MpiMessage {
 public:
  explicit MpiExchange(const RowExchange& rows) : out(rows.out_rows), in(rows.in_rows) {}
  const Counts out, in;
};

class MpiRanks : public Ranks {
 public:
  MpiRanks(MPI_Comm comm, std::shared_ptr<Traffic> traffic) : comm_(comm), traffic_(std::move(traffic)) {}
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;
  ~MpiRanks() override {
    int over = 0;
    MPI_Finalized(&over);
    if (!over) MPI_Comm_free(&comm_);
  }

  std::unique_ptr<Message> exchange(std::span<const std::byte> out, int to, std::span<std::byte> in, int from,
                                    int tag) override {
    auto message = std::make_unique<MpiMessage>();
    const Unit unit(out.size(), in.size());
    MPI_Irecv(in.data(), unit.count(in.size()), unit.type, from, tag, comm_, &message->requests[0]);
    MPI_Isend(out.data(), unit.count(out.size()), unit.type, to, tag, comm_, &message->requests[1]);
    return message;
  }

  std::unique_ptr<Message> start_all_to_all(const RowExchange& rows) override {
    auto message = std::make_unique<MpiExchange>(rows);
    MPI_Datatype row;
    MPI_Type_contiguous(count_of(rows.row_bytes), MPI_BYTE, &row);
    MPI_Type_commit(&row);
    const Counts &out = message->out, &in = message->in;
    MPI_Ialltoallv(rows.out, out.counts.data(), out.starts.data(), row, rows.in, in.counts.data(),
                   in.starts.data(), row, comm_, &message->requests[0]);
    MPI_Type_free(&row);  // once it is done
    return message;
  }

  void broadcast(std::span<std::byte> bytes) override {
    constexpr size_t kMost = size_t{1} << 30;
    for (size_t at = 0; at < bytes.size(); at += kMost)
      MPI_Bcast(bytes.data() + at, static_cast<int>(std::min(kMost, bytes.size() - at)), MPI_BYTE, 0, comm_);
  }

  void gather(std::span<const std::byte> mine, std::span<const int64_t> bytes, std::byte* all) override {
    const Counts in(bytes);
    MPI_Gatherv(mine.data(), count_of(static_cast<int64_t>(mine.size())), MPI_BYTE, all, in.counts.data(),
                in.starts.data(), MPI_BYTE, 0, comm_);
  }

  void barrier() override { MPI_Barrier(comm_); }

  Comm split(int colour) override {
    int rank = 0;
    MPI_Comm_rank(comm_, &rank);
    MPI_Comm part;
    MPI_Comm_split(comm_, colour, rank, &part);
    return group(part, traffic_);
  }

  Traffic& traffic() override { return *traffic_; }

  static Comm group(MPI_Comm comm, std::shared_ptr<Traffic> traffic) {
    Comm result;
    MPI_Comm_rank(comm, &result.rank);
    MPI_Comm_size(comm, &result.size);
    result.ranks = std::make_shared<MpiRanks>(comm, std::move(traffic));
    return result;
  }

 private:
  // What a message is counted in: f32, so that pieces of 8 GB fit, where its size allows.
  struct Unit {
    Unit(size_t a, size_t b) : size((a | b) % 4 == 0 ? 4 : 1), type(size == 4 ? MPI_FLOAT : MPI_BYTE) {}
    int count(size_t bytes) const { return count_of(static_cast<int64_t>(bytes / size)); }
    size_t size;
    MPI_Datatype type;
  };
  MPI_Comm comm_;
  std::shared_ptr<Traffic> traffic_;
};

}  // namespace

bool built_with_mpi() { return true; }

Comm join_ranks() {
  int given = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS)
    throw Error("cannot be started", "MPI");
  MPI_Comm all;
  MPI_Comm_dup(MPI_COMM_WORLD, &all);
  return MpiRanks::group(all, std::make_shared<Traffic>());
}

void leave_ranks() {
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Finalize();
}

void end_all_ranks(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

#else

bool built_with_mpi() { return false; }

Comm join_ranks() {
  throw Error("this minke is built without MPI", "several ranks",
              "built where CMake finds OpenMPI (Debian: libopenmpi-dev) it has it");
}

void leave_ranks() {}
void end_all_ranks(int code) { std::_Exit(code); }

#endif

}  // namespace minke

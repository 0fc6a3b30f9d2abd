#pragma once
// A fork-join pool for work of microseconds: threads spin for the next region and sleep only when none comes
// for a while. Where there are more threads than the machine has, they sleep at once.

#include <atomic>
#include <cstdint>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

namespace minke {

class ThreadPool {
 public:
  // threads >= 1, the caller's own included. Thread i runs on the processors cpus[i] only, where they are
  // given; the caller's goes on doing so.
  explicit ThreadPool(int threads, std::span<const std::vector<int>> cpus = {});
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // f(thread) on every thread at once, thread 0 being the caller; returns when all are done. f must not
  // throw, and must not start another region.
  template <typename F>
  void run(F&& f) {
    if (workers_.empty()) return f(0);
    fork([](void* p, int thread) { (*static_cast<std::remove_reference_t<F>*>(p))(thread); }, &f);
  }

  // f(begin, end, thread) over [0, count) in pieces of at most `grain`. Every thread has a run of
  // neighbouring pieces, so that what it prefetches is what it reads next; one that is through with its own
  // takes from the others'. What a piece computes must not depend on the thread that computes it. Nobody
  // waits for a thread that the system has not woken in time: the others do its share.
  template <typename F>
  void for_each(int64_t count, int64_t grain, F&& f) {
    if (count <= grain || workers_.empty()) {
      for (int64_t begin = 0; begin < count; begin += grain)
        f(begin, begin + grain < count ? begin + grain : count, 0);
      return;
    }
    const int64_t pieces = (count + grain - 1) / grain;
    for (int t = 0; t < size(); ++t) {
      runs_[static_cast<size_t>(t)].next.store(pieces * t / size(), std::memory_order_relaxed);
      runs_[static_cast<size_t>(t)].end = pieces * (t + 1) / size();
    }
    auto work = [&](int thread) {
      for (int i = 0; i < size(); ++i) {
        Run& run = runs_[static_cast<size_t>((thread + i) % size())];
        for (;;) {
          const int64_t piece = run.next.fetch_add(1, std::memory_order_relaxed);
          if (piece >= run.end) break;
          f(piece * grain, piece + 1 < pieces ? (piece + 1) * grain : count, thread);
        }
      }
    };
    share([](void* p, int thread) { (*static_cast<decltype(work)*>(p))(thread); }, &work);
  }

  // Inside a region: returns on each thread when all have called it.
  void barrier();

 private:
  using Job = void (*)(void*, int);
  // Pieces of for_each that one thread takes first.
  struct alignas(64) Run {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  void fork(Job job, void* argument);   // every worker takes part
  void share(Job job, void* argument);  // those do that come before the caller is through
  void work(int thread);
  void open(uint32_t whole);
  bool enter();
  void await_change(std::atomic<uint32_t>& value, uint32_t old) const;

  // Written before a region opens, read by workers inside of it.
  Job job_ = nullptr;
  void* argument_ = nullptr;
  alignas(64) std::atomic<uint32_t> region_{
      0};  // counts up by 2 when a region opens; odd: every worker takes part
  alignas(64) std::atomic<uint32_t> running_{
      0};  // workers not yet done with the region; kOpen: more may enter
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> barriers_{0};
  std::atomic<bool> stop_{false};
  std::vector<Run> runs_;
  const bool spin_;
  std::vector<std::thread> workers_;
};

}  // namespace minke

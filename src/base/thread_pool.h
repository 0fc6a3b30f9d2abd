#pragma once
// A fork-join pool for work of microseconds: threads spin for the next region and sleep only when none comes
// for a while. Where there are more threads than the machine has, they sleep at once.

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace minke {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // >= 1, the caller's own included
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

  // f(begin, end, thread) over [0, count) in pieces of at most `grain`, each claimed by whichever thread is
  // free. What a piece computes must not depend on the thread that computes it. Nobody waits for a thread
  // that the system has not woken in time: the others do its share.
  template <typename F>
  void for_each(int64_t count, int64_t grain, F&& f) {
    if (count <= grain || workers_.empty()) {
      for (int64_t begin = 0; begin < count; begin += grain)
        f(begin, begin + grain < count ? begin + grain : count, 0);
      return;
    }
    next_.store(0, std::memory_order_relaxed);
    auto work = [&](int thread) {
      for (;;) {
        const int64_t begin = next_.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count) return;
        f(begin, begin + grain < count ? begin + grain : count, thread);
      }
    };
    share([](void* p, int thread) { (*static_cast<decltype(work)*>(p))(thread); }, &work);
  }

  // Inside a region: returns on each thread when all have called it.
  void barrier();

 private:
  using Job = void (*)(void*, int);
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
      0};                                     // workers not yet done with the region; kOpen: more may enter
  alignas(64) std::atomic<int64_t> next_{0};  // first unclaimed item of for_each
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> barriers_{0};
  std::atomic<bool> stop_{false};
  const bool spin_;
  std::vector<std::thread> workers_;
};

}  // namespace minke

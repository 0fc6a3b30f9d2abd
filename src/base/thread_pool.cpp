#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <pthread.h>
#include <sched.h>

#include "base/error.h"

namespace minke {
namespace {

// Longer than the serial gaps of a decode step (sampling), shorter than anyone would call idle.
constexpr auto kSpin = std::chrono::microseconds(200);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// A hint: where the system refuses, the thread runs anywhere.
void run_on(pthread_t thread, const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus)
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  ::pthread_setaffinity_np(thread, sizeof set, &set);
}

// In running_: a worker that comes now may still take part.
constexpr uint32_t kOpen = uint32_t{1} << 31;

}  // namespace

// Returns when value != old; spins first, then sleeps.
void ThreadPool::await_change(std::atomic<uint32_t>& value, uint32_t old) const {
  if (spin_) {
    const auto until = std::chrono::steady_clock::now() + kSpin;
    do {
      for (int i = 0; i < 256; ++i) {
        if (value.load(std::memory_order_acquire) != old) return;
        pause();
      }
    } while (std::chrono::steady_clock::now() < until);
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

ThreadPool::ThreadPool(int threads, std::span<const std::vector<int>> cpus)
    : runs_(static_cast<size_t>(std::max(threads, 1))),
      spin_(threads <= static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))) {
  MINKE_CHECK(threads >= 1, "{} threads", threads);
  MINKE_CHECK(cpus.empty() || static_cast<int>(cpus.size()) >= threads);
  for (int i = 1; i < threads; ++i) {
    workers_.emplace_back([this, i] { work(i); });
    if (!cpus.empty()) run_on(workers_.back().native_handle(), cpus[static_cast<size_t>(i)]);
  }
  if (!cpus.empty()) run_on(::pthread_self(), cpus[0]);
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  open(0);
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::open(uint32_t whole) {
  region_.store((region_.load(std::memory_order_relaxed) & ~1u) + 2 + whole, std::memory_order_release);
  region_.notify_all();
}

void ThreadPool::fork(Job job, void* argument) {
  job_ = job;
  argument_ = argument;
  running_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  open(1);
  job(argument, 0);
  for (uint32_t left; (left = running_.load(std::memory_order_acquire)) != 0;) await_change(running_, left);
}

void ThreadPool::share(Job job, void* argument) {
  job_ = job;
  argument_ = argument;
  running_.store(kOpen, std::memory_order_release);
  open(0);
  job(argument, 0);
  running_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (uint32_t left; (left = running_.load(std::memory_order_acquire)) != 0;) await_change(running_, left);
}

// Whether the worker is inside of a shared region now. It may be a later one than that it was woken for, and
// it may be in it again: it finds what is left to claim, or nothing.
bool ThreadPool::enter() {
  uint32_t running = running_.load(std::memory_order_relaxed);
  while ((running & kOpen) != 0)
    if (running_.compare_exchange_weak(running, running + 1, std::memory_order_acquire,
                                       std::memory_order_relaxed))
      return true;
  return false;
}

void ThreadPool::work(int thread) {
  for (uint32_t seen = 0;;) {
    await_change(region_, seen);
    seen = region_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    if (seen % 2 == 0 && !enter()) continue;
    job_(argument_, thread);
    if (running_.fetch_sub(1, std::memory_order_release) == 1) running_.notify_one();
  }
}

void ThreadPool::barrier() {
  const uint32_t phase = barriers_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size())) {
    arrived_.store(0, std::memory_order_relaxed);
    barriers_.fetch_add(1, std::memory_order_release);
    barriers_.notify_all();
  } else {
    await_change(barriers_, phase);
  }
}

}  // namespace minke

#include "base/thread_pool.h"

#include <numeric>
#include <sched.h>
#include <set>

#include <gtest/gtest.h>

#include "base/random.h"

namespace minke {
namespace {

TEST(ThreadPool, RunsOnEveryThreadOnce) {
  for (const int threads : {1, 2, 7}) {
    ThreadPool pool(threads);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<int> calls(static_cast<size_t>(threads));
      pool.run([&](int thread) { ++calls[static_cast<size_t>(thread)]; });
      EXPECT_EQ(calls, std::vector<int>(static_cast<size_t>(threads), 1));
    }
  }
}

TEST(ThreadPool, ThreadsRunWhereTheyAreTold) {
  std::thread([] {  // which is left where it was told, and ends
    cpu_set_t here;
    ASSERT_EQ(::sched_getaffinity(0, sizeof here, &here), 0);
    int first = 0, last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(first, &here)) ++first;
    while (!CPU_ISSET(last, &here)) --last;
    ThreadPool pool(3, std::vector<std::vector<int>>{{first}, {last}, {first, last}});
    std::vector<int> cpu(3);
    pool.run([&](int thread) { cpu[static_cast<size_t>(thread)] = ::sched_getcpu(); });
    EXPECT_EQ(cpu[0], first);
    EXPECT_EQ(cpu[1], last);
    EXPECT_TRUE(cpu[2] == first || cpu[2] == last);
    ThreadPool elsewhere(2, std::vector<std::vector<int>>{{CPU_SETSIZE - 1}, {}});  // no such processors
    elsewhere.run([](int) {});
  })
      .join();
}

TEST(ThreadPool, ForEachCoversEveryItemOnce) {
  ThreadPool pool(3);
  for (const int64_t count : {0, 1, 5, 64, 1000}) {
    for (const int64_t grain : {1, 7, 64}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
      pool.for_each(count, grain, [&](int64_t begin, int64_t end, int thread) {
        EXPECT_LE(end - begin, grain);
        EXPECT_LT(thread, 3);
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      for (const auto& n : seen) EXPECT_EQ(n, 1);
    }
  }
}

TEST(ThreadPool, RegionsOfBothKindsInTurn) {
  for (const int threads : {2, 7, 16}) {  // more than the machine has, too
    ThreadPool pool(threads);
    Random random(static_cast<uint64_t>(threads));
    for (int repeat = 0; repeat < 2000; ++repeat) {
      if (random.below(4) == 0) {
        std::vector<int> calls(static_cast<size_t>(threads));
        pool.run([&](int thread) { ++calls[static_cast<size_t>(thread)]; });
        ASSERT_EQ(calls, std::vector<int>(static_cast<size_t>(threads), 1));
      } else {
        const auto count = static_cast<int64_t>(random.below(40));
        std::vector<int> seen(static_cast<size_t>(count));  // not atomic: each item is one thread's
        pool.for_each(count, 1, [&](int64_t i, int64_t, int) { ++seen[static_cast<size_t>(i)]; });
        ASSERT_EQ(seen, std::vector<int>(static_cast<size_t>(count), 1));
      }
    }
  }
}

TEST(ThreadPool, BarrierSeparatesPhases) {
  ThreadPool pool(4);
  std::atomic<int> first{0};
  std::atomic<bool> mixed{false};
  pool.run([&](int) {
    for (int phase = 1; phase <= 100; ++phase) {
      ++first;
      pool.barrier();
      if (first != 4 * phase) mixed = true;
      pool.barrier();
    }
  });
  EXPECT_FALSE(mixed);
}

TEST(ThreadPool, WakesAfterSleeping) {
  ThreadPool pool(2);
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> calls{0};
    pool.run([&](int) { ++calls; });
    EXPECT_EQ(calls, 2);
  }
}

}  // namespace
}  // namespace minke

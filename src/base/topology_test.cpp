#include "base/topology.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "base/memory.h"

namespace minke {
namespace {

std::vector<NumaNode> nodes_of(const std::vector<int>& cores) {
  std::vector<NumaNode> nodes;
  for (const int n : cores) nodes.push_back({static_cast<int>(nodes.size()), n, {}, 0});
  return nodes;
}

TEST(Topology, ThreadsFillNodesInBlocks) {
  using Ints = std::vector<int>;
  EXPECT_EQ(nodes_of_threads(nodes_of({4}), 3), (Ints{0, 0, 0}));
  EXPECT_EQ(nodes_of_threads(nodes_of({2, 2}), 4), (Ints{0, 0, 1, 1}));
  EXPECT_EQ(nodes_of_threads(nodes_of({4, 4}), 2), (Ints{0, 1}));
  EXPECT_EQ(nodes_of_threads(nodes_of({6, 2}), 8), (Ints{0, 0, 0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(nodes_of_threads(nodes_of({1, 1}), 6), (Ints{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(nodes_of_threads(nodes_of({1, 1, 1, 1}), 1).size(), 1u);
}

TEST(Topology, EveryNodeHasItsShareOfThreads) {
  EXPECT_TRUE(rc::check([] {
    const auto cores = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(1, 100)));
    const int threads = *rc::gen::inRange(1, 300);
    const std::vector<int> node = nodes_of_threads(nodes_of(cores), threads);
    RC_ASSERT(static_cast<int>(node.size()) == threads);
    RC_ASSERT(std::is_sorted(node.begin(), node.end()));
    int64_t all = 0;
    for (const int n : cores) all += n;
    for (size_t i = 0; i < cores.size(); ++i) {
      const double share = static_cast<double>(threads) * cores[i] / static_cast<double>(all);
      const auto have = std::count(node.begin(), node.end(), static_cast<int>(i));
      RC_ASSERT(static_cast<double>(have) > share - 1 && static_cast<double>(have) < share + 1);
    }
  }));
}

TEST(Topology, ReadsWhatHwlocDescribes) {
  if (!Topology::known()) GTEST_SKIP() << "built without hwloc";
  const Topology t = Topology::synthetic("numa:2(memory=1073741824) core:4 pu:2");
  ASSERT_EQ(t.nodes().size(), 2u);
  std::set<int> cpus;
  for (const NumaNode& node : t.nodes()) {
    EXPECT_EQ(node.cores, 4);
    EXPECT_EQ(node.cpus.size(), 8u);
    EXPECT_EQ(node.memory, int64_t{1} << 30);
    cpus.insert(node.cpus.begin(), node.cpus.end());
  }
  EXPECT_EQ(cpus.size(), 16u);
  EXPECT_EQ(Topology::synthetic("pack:2 core:3 pu:1").nodes().size(), 1u);
  EXPECT_THROW(Topology::synthetic("numa:two"), Error);
}

TEST(Topology, MemoryCannotBePlacedOnWhatDoesNotExist) {
  if (!Topology::known()) GTEST_SKIP() << "built without hwloc";
  const Topology t = Topology::synthetic("numa:2 core:4 pu:1");
  const Memory memory(1 << 20, "a test");
  const std::span<std::byte> all(memory.data(), 1 << 20);
  EXPECT_FALSE(t.spread(all));
  EXPECT_FALSE(t.bind(all, 1));
}

TEST(Topology, ThisMachineHasProcessorsAndMemory) {
  if (!Topology::known()) GTEST_SKIP() << "built without hwloc";
  const Topology t = Topology::machine();
  ASSERT_GE(t.nodes().size(), 1u);
  for (const NumaNode& node : t.nodes()) {
    EXPECT_GE(node.cores, 1);
    EXPECT_GE(static_cast<int>(node.cpus.size()), node.cores);
    EXPECT_GT(node.memory, 0);
  }
}

TEST(Topology, SaysWhereHwlocIsMissing) {
  if (Topology::known()) GTEST_SKIP() << "built with hwloc";
  EXPECT_THROW(Topology::machine(), Error);
  EXPECT_THROW(Topology::synthetic("numa:2 core:4 pu:1"), Error);
}

}  // namespace
}  // namespace minke

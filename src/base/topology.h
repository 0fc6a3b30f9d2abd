#pragma once
// Which memory is near which processors (NUMA), as hwloc knows it.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace minke {

// A NUMA node: some memory and the processors near it.
struct NumaNode {
  int id = 0;             // the system's number
  int cores = 0;          // physical cores this process may use
  std::vector<int> cpus;  // their processors, as the system numbers them
  int64_t memory = 0;     // bytes
};

class Topology {
 public:
  static bool known();  // whether the program was built with hwloc
  // This machine, and of it what this process may use. Throws Error where it is not known.
  static Topology machine();
  // A machine that does not exist, as hwloc describes one: "numa:2 core:4 pu:1". Memory cannot be placed on
  // it. Throws Error where the description is none.
  static Topology synthetic(const std::string& description);

  std::span<const NumaNode> nodes() const { return nodes_; }  // those with processors; at least one

  // Pages of `memory` that are not there yet: one after the other from each node in turn, or all from one
  // (an index into nodes()). False where the system refuses.
  bool spread(std::span<std::byte> memory) const;
  bool bind(std::span<std::byte> memory, int node) const;

 private:
  struct Hwloc;
  Topology() = default;
  void read_nodes();

  std::vector<NumaNode> nodes_;
  std::shared_ptr<const Hwloc> hwloc_;
};

// The node of each of `threads` threads: neighbours share one, and each has as many as its cores are worth.
std::vector<int> nodes_of_threads(std::span<const NumaNode> nodes, int threads);

}  // namespace minke

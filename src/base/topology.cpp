#include "base/topology.h"

#include <algorithm>

#if defined(MINKE_HWLOC)
#include <hwloc.h>
#endif

#include "base/error.h"

namespace minke {

#if defined(MINKE_HWLOC)

namespace {

struct Bitmap {
  hwloc_bitmap_t bits = hwloc_bitmap_alloc();
  Bitmap() = default;
  Bitmap(const Bitmap&) = delete;
  Bitmap& operator=(const Bitmap&) = delete;
  ~Bitmap() { hwloc_bitmap_free(bits); }
};

}  // namespace

struct Topology::Hwloc {
  hwloc_topology_t topology = nullptr;

  explicit Hwloc(const char* synthetic) {
    if (hwloc_topology_init(&topology) != 0) throw Error("hwloc cannot be started", "--numa");
    const bool known = !synthetic || hwloc_topology_set_synthetic(topology, synthetic) == 0;
    if (known && hwloc_topology_load(topology) == 0) return;
    hwloc_topology_destroy(topology);
    throw Error(known ? "hwloc cannot read the machine's topology" : "is no topology hwloc knows",
                known ? "--numa" : synthetic);
  }
  Hwloc(const Hwloc&) = delete;
  Hwloc& operator=(const Hwloc&) = delete;
  ~Hwloc() { hwloc_topology_destroy(topology); }

  bool place(std::span<std::byte> memory, hwloc_const_bitmap_t nodes, hwloc_membind_policy_t policy) const {
    return hwloc_topology_is_thissystem(topology) &&
           hwloc_set_area_membind(topology, memory.data(), memory.size(), nodes, policy,
                                  HWLOC_MEMBIND_BYNODESET) == 0;
  }
};

void Topology::read_nodes() {
  const hwloc_topology_t t = hwloc_->topology;
  Bitmap usable;  // what taskset and its like leave of it
  if (hwloc_get_cpubind(t, usable.bits, HWLOC_CPUBIND_PROCESS) != 0) hwloc_bitmap_fill(usable.bits);
  for (hwloc_obj_t o = nullptr; (o = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_NUMANODE, o)) != nullptr;) {
    Bitmap here;
    hwloc_bitmap_and(here.bits, o->cpuset, usable.bits);
    NumaNode node;
    node.id = static_cast<int>(o->os_index);
    node.memory = static_cast<int64_t>(o->attr->numanode.local_memory);
    for (int cpu = -1; (cpu = hwloc_bitmap_next(here.bits, cpu)) != -1;) node.cpus.push_back(cpu);
    for (hwloc_obj_t core = nullptr; (core = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_CORE, core)) != nullptr;)
      node.cores += hwloc_bitmap_intersects(core->cpuset, here.bits);
    if (node.cores == 0) node.cores = static_cast<int>(node.cpus.size());
    if (!node.cpus.empty()) nodes_.push_back(std::move(node));
  }
  if (nodes_.empty()) throw Error("no NUMA node has processors this process may use", "--numa");
}

bool Topology::known() { return true; }

Topology Topology::machine() {
  Topology t;
  t.hwloc_ = std::make_shared<const Hwloc>(nullptr);
  t.read_nodes();
  return t;
}

Topology Topology::synthetic(const std::string& description) {
  Topology t;
  t.hwloc_ = std::make_shared<const Hwloc>(description.c_str());
  t.read_nodes();
  return t;
}

bool Topology::spread(std::span<std::byte> memory) const {
  Bitmap all;
  for (const NumaNode& node : nodes_) hwloc_bitmap_set(all.bits, static_cast<unsigned>(node.id));
  return hwloc_->place(memory, all.bits, HWLOC_MEMBIND_INTERLEAVE);
}

bool Topology::bind(std::span<std::byte> memory, int node) const {
  Bitmap one;
  hwloc_bitmap_set(one.bits, static_cast<unsigned>(nodes_[static_cast<size_t>(node)].id));
  return hwloc_->place(memory, one.bits, HWLOC_MEMBIND_BIND);
}

#else

struct Topology::Hwloc {};

namespace {

[[noreturn]] void without_hwloc() {
  throw Error("this program was built without hwloc, which knows the machine's NUMA nodes", "--numa",
              "install Debian's libhwloc-dev and build again");
}

}  // namespace

bool Topology::known() { return false; }
Topology Topology::machine() { without_hwloc(); }
Topology Topology::synthetic(const std::string&) { without_hwloc(); }
void Topology::read_nodes() {}
bool Topology::spread(std::span<std::byte>) const { return false; }
bool Topology::bind(std::span<std::byte>, int) const { return false; }

#endif

std::vector<int> nodes_of_threads(std::span<const NumaNode> nodes, int threads) {
  int64_t cores = 0;
  for (const NumaNode& node : nodes) cores += node.cores;
  std::vector<int> of_thread(static_cast<size_t>(threads), 0);
  int64_t before = 0;  // cores of the nodes up to this one
  size_t node = 0;
  for (int t = 0; t < threads; ++t) {
    // The core a thread would have, were there as many cores as threads.
    const int64_t core = (2 * int64_t{t} + 1) * cores / (2 * int64_t{threads});
    while (node + 1 < nodes.size() && core >= before + nodes[node].cores) before += nodes[node++].cores;
    of_thread[static_cast<size_t>(t)] = static_cast<int>(node);
  }
  return of_thread;
}

}  // namespace minke

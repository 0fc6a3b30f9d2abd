#pragma once
// Experts divided over ranks: rows travel to those that have their experts, and what became of them travels
// back (expert parallelism, Lepikhin et al. 2020).

#include <cstdint>
#include <vector>

#include "comm/collectives.h"

namespace minke {

// The ways of one layer's rows, the same there and back. Rank r of R has the experts from r * E / R on.
struct ExpertRoutes {
  std::vector<int64_t> out, in;  // [ranks] rows to each rank, rows from each
  std::vector<int32_t> starts;   // [E / R + 1] first row of each of this rank's experts, of all that came
  std::vector<int32_t> places;   // [rows that came] where each, in the order of its coming, lies by expert
  int rows() const { return static_cast<int>(places.size()); }
};

// From the slots of this rank's tokens, sorted by expert: starts [experts + 1]. All ranks call it.
ExpertRoutes find_routes(const Comm& comm, int experts, const int32_t* starts);

// slots [S][cols] of every rank, sorted by expert, start for where their experts are; take_at_experts puts
// what came to rows [routes.rows()][cols], sorted by expert and then by rank. Until then slots, routes and
// space, which is made large enough, are the travellers'.
Pending start_to_experts(const Comm& comm, const ExpertRoutes& routes, int cols, const float* slots,
                         std::vector<float>& space);
void take_at_experts(const ExpertRoutes& routes, int cols, const std::vector<float>& space, float* rows);
// And back to their slots.
Pending start_to_tokens(const Comm& comm, const ExpertRoutes& routes, int cols, const float* rows,
                        float* slots, std::vector<float>& space);

// Either way at once.
void send_to_experts(const Comm& comm, const ExpertRoutes& routes, int cols, const float* slots, float* rows,
                     std::vector<float>& space);
void send_to_tokens(const Comm& comm, const ExpertRoutes& routes, int cols, const float* rows, float* slots,
                    std::vector<float>& space);

// Room for so many numbers, no more; what was there may be lost.
float* made_large(std::vector<float>& space, int64_t count);

// Bytes that all ranks together send for one layer, there and back in both directions, with experts evenly
// loaded. forwards: 2 where the layer is run again.
double expert_traffic(int64_t tokens, int active, int dim, int ranks, int forwards);

}  // namespace minke

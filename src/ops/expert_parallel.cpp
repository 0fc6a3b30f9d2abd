#include "ops/expert_parallel.h"

#include <algorithm>

namespace minke {
namespace {

const std::byte* bytes(const float* p) { return reinterpret_cast<const std::byte*>(p); }
std::byte* bytes(float* p) { return reinterpret_cast<std::byte*>(p); }

}  // namespace

float* made_large(std::vector<float>& space, int64_t count) {
  if (static_cast<int64_t>(space.size()) >= count) return space.data();
  space = {};  // given back first
  space = std::vector<float>(static_cast<size_t>(count));
  return space.data();
}

ExpertRoutes find_routes(const Comm& comm, int experts, const int32_t* starts) {
  const int mine = experts / comm.size;
  const auto ranks = static_cast<size_t>(comm.size), all = static_cast<size_t>(experts);
  std::vector<int32_t> counts(all), came(all);  // came [ranks][mine]
  for (size_t e = 0; e < all; ++e) counts[e] = starts[e + 1] - starts[e];
  const std::vector<int64_t> one(ranks, 1);
  all_to_all(comm,
             {reinterpret_cast<const std::byte*>(counts.data()), one,
              reinterpret_cast<std::byte*>(came.data()), one, mine * static_cast<int64_t>(sizeof(int32_t))});
  ExpertRoutes routes;
  for (int r = 0; r < comm.size; ++r) {
    routes.out.push_back(starts[(r + 1) * mine] - starts[r * mine]);
    int64_t from = 0;
    for (int e = 0; e < mine; ++e) from += came[static_cast<size_t>(r * mine + e)];
    routes.in.push_back(from);
  }
  routes.starts.assign(static_cast<size_t>(mine) + 1, 0);
  std::vector<int32_t> first(all);  // of the rows of a rank and expert
  for (int e = 0, at = 0; e < mine; ++e) {
    for (int r = 0; r < comm.size; ++r) {
      first[static_cast<size_t>(r * mine + e)] = at;
      at += came[static_cast<size_t>(r * mine + e)];
    }
    routes.starts[static_cast<size_t>(e) + 1] = at;
  }
  for (size_t i = 0; i < all; ++i)
    for (int32_t row = 0; row < came[i]; ++row) routes.places.push_back(first[i] + row);
  return routes;
}

Pending start_to_experts(const Comm& comm, const ExpertRoutes& routes, int cols, const float* slots,
                         std::vector<float>& space) {
  float* arriving = made_large(space, int64_t{routes.rows()} * cols);
  return start_all_to_all(
      comm, {bytes(slots), routes.out, bytes(arriving), routes.in, cols * int64_t{sizeof(float)}});
}

void take_at_experts(const ExpertRoutes& routes, int cols, const std::vector<float>& space, float* rows) {
  const float* arrived = space.data();
  for (const int32_t place : routes.places) {
    std::copy_n(arrived, cols, rows + int64_t{place} * cols);
    arrived += cols;
  }
}

Pending start_to_tokens(const Comm& comm, const ExpertRoutes& routes, int cols, const float* rows,
                        float* slots, std::vector<float>& space) {
  float* const leaving = made_large(space, int64_t{routes.rows()} * cols);
  float* to = leaving;
  for (const int32_t place : routes.places) {
    std::copy_n(rows + int64_t{place} * cols, cols, to);
    to += cols;
  }
  return start_all_to_all(
      comm, {bytes(leaving), routes.in, bytes(slots), routes.out, cols * int64_t{sizeof(float)}});
}

void send_to_experts(const Comm& comm, const ExpertRoutes& routes, int cols, const float* slots, float* rows,
                     std::vector<float>& space) {
  start_to_experts(comm, routes, cols, slots, space).finish();
  take_at_experts(routes, cols, space, rows);
}

void send_to_tokens(const Comm& comm, const ExpertRoutes& routes, int cols, const float* rows, float* slots,
                    std::vector<float>& space) {
  start_to_tokens(comm, routes, cols, rows, slots, space).finish();
}

double expert_traffic(int64_t tokens, int active, int dim, int ranks, int forwards) {
  const double numbers = 2.0 * forwards * dim + 2.0 * dim + 2;  // and the router's weight and its gradient
  return static_cast<double>(tokens) * active * numbers * 4 * (ranks - 1) / ranks;
}

}  // namespace minke

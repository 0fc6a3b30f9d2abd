#pragma once
// A command that works on several ranks: the processes that mpirun or srun started.

#include <functional>

#include "comm/comm.h"

namespace minke {

// work(comm) on every rank, or alone where no launcher started this process. An error of one rank is said
// with its number and ends all of them. Throws Error where the launcher or this program knows no MPI.
int run_job(const std::function<int(const Comm&)>& work);

int ranks_on_this_machine();

}  // namespace minke

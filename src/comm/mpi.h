#pragma once
// The processes that mpirun or srun started, as ranks (MPI 3.1).

#include "comm/comm.h"

namespace minke {

bool built_with_mpi();

// Once, by the thread that will call what is in collectives.h. Throws Error where this program is built
// without MPI, or the library cannot be started.
Comm join_ranks();

// Waits for all ranks: each leaves when its work is done. Before the last Comm is gone.
void leave_ranks();

// Ends the job, whatever the others are doing: nobody may wait for a rank that is no more.
[[noreturn]] void end_all_ranks(int code);

}  // namespace minke

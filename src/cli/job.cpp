#include "cli/job.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/environment.h"
#include "comm/mpi.h"

namespace minke {
namespace {

int number(const char* name) {
  const std::optional<std::string> text = variable(name);
  return text ? std::atoi(text->c_str()) : 0;
}

bool launched() {
  if (variable("OMPI_COMM_WORLD_SIZE") || variable("PMIX_RANK")) return true;
  if (number("SLURM_STEP_NUM_TASKS") > 1)
    throw Error("starts several processes that know nothing of each other", "srun",
                "srun --mpi=pmix starts ranks; one process needs --ntasks=1");
  return false;
}

}  // namespace

int ranks_on_this_machine() { return std::max(1, number("OMPI_COMM_WORLD_LOCAL_SIZE")); }

int run_job(const std::function<int(const Comm&)>& work) {
  if (!launched()) return work(Comm{});
  if (!built_with_mpi() && number("OMPI_COMM_WORLD_SIZE") == 1) return work(Comm{});
  const Comm all = join_ranks();
  try {
    const int code = work(all);
    std::fflush(stdout);
    leave_ranks();
    return code;
  } catch (const std::exception& e) {
    // What is wrong with a config is found by all; rank 0 says it and ends the others before they would.
    if (all.rank > 0) std::this_thread::sleep_for(std::chrono::seconds(1));
    std::fflush(stdout);
    fmt::print(stderr, "minke: rank {} of {}: {}\n", all.rank, all.size, e.what());
    end_all_ranks(kExitFailed);
  }
}

}  // namespace minke

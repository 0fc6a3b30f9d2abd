#pragma once
// Signals of a program that serves, waited for instead of handled.

#include <chrono>

namespace minke {

enum class Signal { none, end, reload };

// From construction on, SIGINT, SIGTERM, SIGUSR1 and SIGHUP are kept from this thread and those it starts,
// until one asks for them. To be made before any other thread. SIGUSR1 asks for an end as well: mpirun passes
// it on to its ranks, where it answers SIGTERM by ending them.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  Signal wait(std::chrono::milliseconds longest);
};

}  // namespace minke

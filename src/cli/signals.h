#pragma once
// Signals of a program that serves, waited for instead of handled.

#include <chrono>

namespace minke {

enum class Signal { none, end, reload };

// From construction on, SIGINT, SIGTERM and SIGHUP are kept from this thread and those it starts, until one
// asks for them. To be made before any other thread.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  Signal wait(std::chrono::milliseconds longest);
};

}  // namespace minke

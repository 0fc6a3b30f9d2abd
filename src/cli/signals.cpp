#include "cli/signals.h"

#include <csignal>
#include <ctime>

namespace minke {
namespace {

sigset_t the_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&set, s);
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = the_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Signals::~Signals() {
  const sigset_t set = the_signals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

Signal Signals::wait(std::chrono::milliseconds longest) {
  const sigset_t set = the_signals();
  const timespec time{longest.count() / 1000, longest.count() % 1000 * 1'000'000};
  switch (sigtimedwait(&set, nullptr, &time)) {
    case SIGINT:
    case SIGUSR1:
    case SIGTERM: return Signal::end;
    case SIGHUP: return Signal::reload;
    default: return Signal::none;
  }
}

}  // namespace minke

#include "cli/interrupt.h"

#include <csignal>

namespace minke {
namespace {

volatile std::sig_atomic_t interrupted = 0;

extern "C" void on_interrupt(int) { interrupted = 1; }

}  // namespace

Interrupt::Interrupt() {
  interrupted = 0;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;  // without SA_RESTART: a read at the prompt returns
  sigaction(SIGINT, &action, nullptr);
}

Interrupt::~Interrupt() { std::signal(SIGINT, SIG_DFL); }

bool Interrupt::asked() const { return interrupted != 0; }
void Interrupt::clear() { interrupted = 0; }

}  // namespace minke

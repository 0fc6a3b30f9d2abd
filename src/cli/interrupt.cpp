#include "cli/interrupt.h"

#include <csignal>
#include <unistd.h>

#include "cli/command.h"

namespace minke {
namespace {

volatile std::sig_atomic_t interrupted = 0, line_open = 0, second_ends = 0;

void end_program() {
  if (line_open) [[maybe_unused]]
    const ssize_t ignored = ::write(STDERR_FILENO, "\n", 1);
  ::_exit(kExitInterrupted);
}

extern "C" void on_interrupt_end(int) { end_program(); }

extern "C" void on_interrupt(int) {
  if (interrupted && second_ends) end_program();
  interrupted = 1;
}

void handle(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;  // without SA_RESTART: a read at the prompt returns
  ::sigaction(SIGINT, &action, nullptr);
}

}  // namespace

void exit_on_interrupt() { handle(on_interrupt_end); }

Interrupt::Interrupt(Second second) {
  interrupted = 0;
  second_ends = second == Second::ends;
  handle(on_interrupt);
}

Interrupt::~Interrupt() { exit_on_interrupt(); }

bool Interrupt::asked() const { return interrupted != 0; }
void Interrupt::clear() { interrupted = 0; }

void set_line_open(bool open) { line_open = open; }

}  // namespace minke

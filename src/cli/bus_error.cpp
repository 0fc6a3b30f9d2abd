#include "cli/bus_error.h"

#include <csignal>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "cli/command.h"

namespace minke {
namespace {

// Everything below runs in a signal handler: system calls and stack memory only.

void say(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(STDERR_FILENO, text, size);
    if (n <= 0) return;
    text += n;
    size -= static_cast<size_t>(n);
  }
}
void say(const char* text) { say(text, std::strlen(text)); }

// Steps over a hexadecimal number and the character after it.
uintptr_t read_hex(const char*& p) {
  uintptr_t value = 0;
  for (; *p; ++p) {
    const char c = *p;
    if (c >= '0' && c <= '9')
      value = value << 4 | static_cast<uintptr_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      value = value << 4 | static_cast<uintptr_t>(c - 'a' + 10);
    else
      break;
  }
  if (*p) ++p;
  return value;
}

// A line of /proc/self/maps: "begin-end rights offset device inode   path". The path where the address lies
// between begin and end; null elsewhere.
const char* path_at(const char* line, uintptr_t address) {
  const uintptr_t begin = read_hex(line), end = read_hex(line);
  if (address < begin || address >= end) return nullptr;
  return std::strchr(line, '/');
}

void say_mapped_file(uintptr_t address) {
  const int fd = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  char line[4096 + 128], c;
  size_t size = 0;
  while (fd >= 0 && ::read(fd, &c, 1) == 1) {
    if (c != '\n') {
      if (size + 1 < sizeof line) line[size++] = c;
      continue;
    }
    line[size] = '\0';
    size = 0;
    if (const char* path = path_at(line, address)) {
      say(path);
      say(": ");
      return;
    }
  }
}

void on_bus_error(int, siginfo_t* info, void*) {
  say("\nminke: ");
  say_mapped_file(reinterpret_cast<uintptr_t>(info->si_addr));
  say("a part of the file can no longer be read: it became shorter while it was used, or the disk failed "
      "(leave "
      "model files alone while they are in use)\n");
  ::_exit(kExitFailed);
}

}  // namespace

void explain_bus_errors() {
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = static_cast<int>(SA_SIGINFO | SA_RESETHAND);
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace minke

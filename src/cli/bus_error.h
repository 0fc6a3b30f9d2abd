#pragma once
// Files are mapped, not read: one that becomes shorter while it is used, or whose disk fails, ends the
// program with SIGBUS.

namespace minke {

// From here on SIGBUS says which file could not be read, and ends the program with exit code 1. The engine
// cannot go on: the weights it works with are gone.
void explain_bus_errors();

}  // namespace minke

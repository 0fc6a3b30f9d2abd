#pragma once
// Ctrl-C as a question that can be asked.

namespace minke {

// From construction to destruction SIGINT sets a flag instead of ending the program. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool asked() const;  // since construction or the last clear
  void clear();
};

}  // namespace minke

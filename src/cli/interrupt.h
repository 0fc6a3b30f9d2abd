#pragma once
// Ctrl-C: ends the program with 130, or becomes a question that can be asked.

namespace minke {

// From here on SIGINT ends the program at once, with exit code 130, unless an Interrupt lives.
void exit_on_interrupt();

// From construction to destruction SIGINT sets a flag instead. One at a time.
class Interrupt {
 public:
  enum class Second { ends, is_a_flag };
  // second: what a further SIGINT does while the first is not cleared.
  explicit Interrupt(Second second);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool asked() const;  // since construction or the last clear
  void clear();
};

// Whether a line on standard error is half drawn: SIGINT then ends it before it ends the program.
void set_line_open(bool open);

}  // namespace minke

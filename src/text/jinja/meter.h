#pragma once
// What a rendering may use. A template comes with a model from anywhere: it must not hang, exhaust memory or
// overflow the stack.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace minke::jinja {

struct Limits {
  uint64_t steps = 50'000'000;       // expressions and statements evaluated, and 32 bytes of text handled
  size_t bytes = size_t{256} << 20;  // held at one time by values the template made, the output included
  int depth = 400;  // of nested evaluation; a macro that calls itself takes about ten each time
};

// Bytes that are held until the end of its life. Charges nothing when made by default.
class Charge {
 public:
  Charge() = default;
  Charge(size_t& held, size_t bytes) : held_(&held), bytes_(bytes) { held += bytes; }
  Charge(Charge&& other) noexcept : held_(std::exchange(other.held_, nullptr)), bytes_(other.bytes_) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(held_, other.held_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Charge() {
    if (held_) *held_ -= bytes_;
  }

 private:
  friend class Meter;
  size_t* held_ = nullptr;
  size_t bytes_ = 0;
};

class Meter {
 public:
  explicit Meter(const Limits& limits) : limits_(limits) {}
  Meter(const Meter&) = delete;

  void step(uint64_t count = 1) {
    steps_ += count;
    if (steps_ > limits_.steps) [[unlikely]]
      too_long();
  }
  void handle(size_t bytes) { step(bytes / 32); }

  // Throws before so many bytes are held; to be called before they are allocated.
  void check(size_t bytes) const {
    if (bytes > limits_.bytes || held_ > limits_.bytes - bytes) [[unlikely]]
      too_big(bytes);
  }
  Charge charge(size_t bytes) {
    check(bytes);
    handle(bytes);
    return Charge(held_, bytes);
  }

  void extend(Charge& charge, size_t bytes) {
    check(bytes);
    handle(bytes);
    charge.held_ = &held_;
    charge.bytes_ += bytes;
    held_ += bytes;
  }

  // One level deeper while it lives.
  class Level {
   public:
    explicit Level(Meter& meter) : meter_(meter) {
      if (meter_.depth_ >= meter_.limits_.depth) [[unlikely]]
        too_deep();
      ++meter_.depth_;
    }
    Level(const Level&) = delete;
    ~Level() { --meter_.depth_; }

   private:
    Meter& meter_;
  };

 private:
  [[noreturn]] void too_long() const {
    throw Error(fmt::format("the template did not end within {} steps", limits_.steps));
  }
  [[noreturn]] void too_big(size_t bytes) const {
    throw Error(fmt::format("the template wants {} bytes more than the {} it holds, at most {} are allowed",
                            bytes, held_, limits_.bytes));
  }
  [[noreturn]] static void too_deep() { throw Error("the template's evaluation is nested too deep"); }

  Limits limits_;
  uint64_t steps_ = 0;
  size_t held_ = 0;
  int depth_ = 0;
};

}  // namespace minke::jinja

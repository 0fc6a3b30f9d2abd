#include "text/regex.h"

#include <bit>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "text/regex_program.h"
#include "text/utf8.h"

namespace minke {
namespace {

using Op = RegexInst::Op;

// Steps per byte after which failures are remembered; real patterns take about ten. Each instruction then
// fails at most once at each byte, give or take what lookaheads and atomic groups do again and again: so many
// times as much, and the search is given up.
constexpr int64_t kFastSteps = 64, kSpareSteps = 4096;
constexpr int64_t kCarefulStepsPerInst = 8, kSpareCarefulSteps = int64_t{1} << 22;
constexpr uint64_t kMaxRememberedBits = uint64_t{1} << 31;  // 256 MiB

}  // namespace

Regex::Regex(std::string_view pattern, const UnicodeSets& unicode) : pattern_(pattern) {
  try {
    program_ = std::make_unique<const RegexProgram>(compile_regex(parse_regex(pattern, unicode)));
  } catch (const Error& error) {
    throw error.within(fmt::format("regular expression '{}'", excerpt(pattern)));
  }
}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

RegexSearch::RegexSearch(const Regex& regex, std::string_view text, RegexScratch& scratch)
    : program_(*regex.program_),
      pattern_(regex.pattern_),
      scratch_(scratch),
      begin_(text.data()),
      end_(text.data() + text.size()),
      from_(begin_),
      budget_(static_cast<int64_t>(text.size()) * kFastSteps + kSpareSteps) {
  scratch_.stack.clear();
}

void RegexSearch::be_careful() {
  const uint64_t columns = static_cast<uint64_t>(end_ - begin_) + 1;
  const uint64_t rows = program_.careful.remembered;
  if (rows > kMaxRememberedBits / columns) {
    throw Error(fmt::format("{} bytes of text need too much backtracking", columns - 1),
                fmt::format("regular expression '{}'", excerpt(pattern_)));
  }
  careful_ = true;
  scratch_.failed.assign((rows * columns + 63) / 64, 0);
  budget_ = static_cast<int64_t>(columns * program_.careful.insts.size()) * kCarefulStepsPerInst +
            kSpareCarefulSteps;
}

uint64_t RegexSearch::candidates(const char* at) const {
  if (at == end_) return program_.end_candidates;
  const auto byte = static_cast<unsigned char>(*at);
  if (byte < 0x80) return program_.ascii_candidates[byte];
  return program_.class_candidates[program_.classes[decode_utf8(at)]];
}

bool RegexSearch::next() {
  const char* const last_end = match_end_;
  for (const char* start = from_; !done_;) {
    if (match_at(start)) {
      if (run_end_ != start || start != last_end) {
        match_begin_ = start;
        from_ = match_end_ = run_end_;
        return true;
      }
    }
    if (start == end_)
      done_ = true;
    else
      decode_utf8(start);
  }
  return false;
}

bool RegexSearch::match_at(const char* start) {
  for (uint64_t left = candidates(start); left != 0; left &= left - 1) {
    const auto alternative = static_cast<size_t>(std::countr_zero(left));
    Outcome outcome = run((careful_ ? program_.careful : program_.fast).entries[alternative], start);
    if (outcome == Outcome::exhausted && !careful_) {
      scratch_.stack.clear();
      be_careful();
      outcome = run(program_.careful.entries[alternative], start);
    }
    if (outcome == Outcome::matched) return true;
    if (outcome == Outcome::exhausted) {
      throw Error(fmt::format("{} bytes of text need too much backtracking", end_ - begin_),
                  fmt::format("regular expression '{}'", excerpt(pattern_)));
    }
  }
  return false;
}

bool RegexSearch::remembered_failure(uint32_t row, const char* at) const {
  const uint64_t bit =
      uint64_t{row} * static_cast<uint64_t>(end_ - begin_ + 1) + static_cast<uint64_t>(at - begin_);
  return scratch_.failed[bit / 64] >> (bit % 64) & 1;
}

// Takes the nearest way not yet tried of those above `base`.
bool RegexSearch::backtrack(size_t base, uint32_t& pc, const char*& at) {
  auto& stack = scratch_.stack;
  while (stack.size() > base) {
    RegexScratch::Frame& frame = stack.back();
    if (frame.row != kNone) {  // both ways of a split have failed
      const uint64_t bit = uint64_t{frame.row} * static_cast<uint64_t>(end_ - begin_ + 1) +
                           static_cast<uint64_t>(frame.at - begin_);
      scratch_.failed[bit / 64] |= uint64_t{1} << (bit % 64);
      stack.pop_back();
      continue;
    }
    pc = frame.pc;
    if (frame.floor == nullptr) {
      at = frame.at;
      stack.pop_back();
      return true;
    }
    // A loop gives back characters until what must follow may follow.
    const RegexInst& loop = program_.fast.insts[pc - 1];
    const char* back = frame.at;
    bool fits = false;
    while (!fits && back > frame.floor) {
      step_back_utf8(back);
      const char* next = back;
      fits = loop.next == kNone || program_.contains(loop.next, next);
    }
    budget_ -= frame.at - back;
    frame.at = back;
    if (back == frame.floor) stack.pop_back();
    if (!fits) continue;
    at = back;
    return true;
  }
  return false;
}

bool RegexSearch::assertion(uint32_t pc, const char* at) const {
  const RegexInst& inst = (careful_ ? program_.careful : program_.fast).insts[pc];
  const auto in_set_before = [&] {
    if (at == begin_) return false;
    const char* before = at;
    step_back_utf8(before);
    return program_.contains(inst.set, before);
  };
  const auto in_set_after = [&] {
    const char* after = at;
    return at != end_ && program_.contains(inst.set, after);
  };
  switch (inst.op) {
    case Op::look_set: return in_set_after() != inst.negated;
    case Op::behind: return in_set_before() != inst.negated;
    case Op::word_boundary: return (in_set_before() != in_set_after()) != inst.negated;
    case Op::text_begin: return at == begin_;
    case Op::text_end: return at == end_;
    case Op::line_begin: return at == begin_ || (at != end_ && at[-1] == '\n');
    case Op::line_end: return at == end_ || *at == '\n';
    case Op::text_end_or_last_newline: return at == end_ || (*at == '\n' && at + 1 == end_);
    default: MINKE_CHECK(false, "no assertion");
  }
}

// Runs from pc up to that program's accept.
RegexSearch::Outcome RegexSearch::run(uint32_t pc, const char* at) {
  const std::vector<RegexInst>& insts = (careful_ ? program_.careful : program_.fast).insts;
  auto& stack = scratch_.stack;
  const size_t base = stack.size();
  while (true) {
    const RegexInst& inst = insts[pc];
    if (--budget_ < 0) return Outcome::exhausted;
    bool ok = true;
    switch (inst.op) {
      case Op::set:
        ok = at != end_ && program_.contains(inst.set, at);
        ++pc;
        break;
      case Op::loop: {
        const char* const start = at;
        const char* floor = at;
        uint32_t n = 0;
        for (const char* next = at; n < inst.b && at != end_ && program_.contains(inst.set, next); at = next)
          if (++n == inst.a) floor = next;
        budget_ -= at - start;
        ok = n >= inst.a;
        ++pc;
        if (ok && at != floor && !inst.possessive) stack.push_back({pc, kNone, at, floor});
        break;
      }
      case Op::split:
        if (inst.next != kNone) {
          ok = !remembered_failure(inst.next, at);
          if (ok) stack.push_back({0, inst.next, at, nullptr});
        }
        if (ok) stack.push_back({inst.b, kNone, at, nullptr});
        pc = inst.a;
        break;
      case Op::jump: pc = inst.a; break;
      case Op::look:
      case Op::atomic: {
        const Outcome inner = run(pc + 1, at);
        if (inner == Outcome::exhausted) return inner;
        ok = (inner == Outcome::matched) != inst.negated;
        if (inst.op == Op::atomic) at = run_end_;
        pc = inst.a;
        break;
      }
      case Op::accept:
        run_end_ = at;
        stack.resize(base);
        return Outcome::matched;
      default:
        ok = assertion(pc, at);
        ++pc;
        break;
    }
    if (!ok && !backtrack(base, pc, at)) return Outcome::failed;
  }
}

}  // namespace minke

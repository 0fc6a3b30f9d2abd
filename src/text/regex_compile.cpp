#include <algorithm>
#include <bitset>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/regex_program.h"

namespace minke {
namespace {

using Kind = RegexNode::Kind;
using Op = RegexInst::Op;
using Classes = std::bitset<CodePointClasses::kMaxClasses>;  // also used for as many sets

constexpr size_t kMaxInsts = 1 << 14;
constexpr size_t kMaxWork = 1 << 16;
constexpr size_t kMaxEntries = 64;

// What a match can begin with.
struct First {
  Classes classes;
  bool nothing = true;  // it may be empty

  First then(const First& next) const {
    if (!nothing) return *this;
    return {classes | next.classes, next.nothing};
  }
};

class Compiler {
 public:
  explicit Compiler(const RegexSyntax& syntax) : root_(syntax.root) {
    program_.classes = CodePointClasses(syntax.sets);
    for (const CodePoints& set : syntax.sets) {
      Classes members;
      for (size_t i = 0; i < program_.classes.size(); ++i)
        members[i] = set.contains(program_.classes.representative(i));
      sets_.push_back(members);
    }
    find_first(root_);
  }

  RegexProgram compile() {
    std::vector<const RegexNode*> alternatives;
    if (root_.kind == Kind::alternate && root_.children.size() <= kMaxEntries)
      for (const RegexNode& child : root_.children) alternatives.push_back(&child);
    else
      alternatives.push_back(&root_);
    for (const bool careful : {false, true}) {
      careful_ = careful;
      code_ = {};
      work_ = 0;
      for (const RegexNode* alternative : alternatives) {
        code_.entries.push_back(here());
        emit(*alternative, {});
        add({.op = Op::accept});
      }
      (careful ? program_.careful : program_.fast) = std::move(code_);
    }
    for (size_t i = 0; i < alternatives.size(); ++i) add_candidates(i, first_.at(alternatives[i]));
    add_members();
    return std::move(program_);
  }

 private:
  const First& find_first(const RegexNode& node) {
    First result;
    switch (node.kind) {
      case Kind::concat:
        for (const RegexNode& child : node.children) result = result.then(find_first(child));
        break;
      case Kind::alternate:
        result.nothing = false;
        for (const RegexNode& child : node.children) {
          const First& first = find_first(child);
          result.classes |= first.classes;
          result.nothing = result.nothing || first.nothing;
        }
        break;
      case Kind::set: result = {sets_[node.set], false}; break;
      case Kind::repeat:
        result = find_first(node.children[0]);
        if (node.max == kUnbounded && result.nothing)
          throw Error("an unlimited repeat of something that can match nothing is not supported");
        if (node.max == 0) result = {};
        if (node.min == 0) result.nothing = true;
        break;
      case Kind::atomic: result = find_first(node.children[0]); break;
      case Kind::look: find_first(node.children[0]); break;
      default: break;
    }
    return first_[&node] = result;
  }

  uint32_t here() const { return static_cast<uint32_t>(code_.insts.size()); }

  uint32_t add(const RegexInst& inst) {
    if (code_.insts.size() == kMaxInsts) throw Error("too large a pattern, its repeats written out");
    code_.insts.push_back(inst);
    return here() - 1;
  }

  uint32_t add_split() { return add({.op = Op::split, .next = careful_ ? code_.remembered++ : kNone}); }

  // Sets the two ways of a split: into the body first, or past it first.
  void set_split(uint32_t split, uint32_t body, uint32_t past, bool lazy) {
    code_.insts[split].a = lazy ? past : body;
    code_.insts[split].b = lazy ? body : past;
  }

  uint32_t intern(const Classes& classes) {
    const auto present = std::find(sets_.begin(), sets_.end(), classes);
    if (present == sets_.end()) {
      sets_.push_back(classes);
      return static_cast<uint32_t>(sets_.size() - 1);
    }
    return static_cast<uint32_t>(present - sets_.begin());
  }

  // `follow`: what may come after the node.
  void emit(const RegexNode& node, const First& follow) {
    if (++work_ > kMaxWork) throw Error("too large a pattern, its repeats written out");
    switch (node.kind) {
      case Kind::concat: return emit_concat(node, follow);
      case Kind::alternate: return emit_alternate(node, follow);
      case Kind::set: add({.op = Op::set, .set = node.set}); return;
      case Kind::repeat: return emit_repeat(node, follow);
      case Kind::atomic: return emit_atomic(node);
      case Kind::look: return emit_look(node);
      case Kind::behind: add({.op = Op::behind, .negated = node.negated, .set = node.set}); return;
      case Kind::line_begin: add({.op = Op::line_begin}); return;
      case Kind::line_end: add({.op = Op::line_end}); return;
      case Kind::text_begin: add({.op = Op::text_begin}); return;
      case Kind::text_end: add({.op = Op::text_end}); return;
      case Kind::text_end_or_last_newline: add({.op = Op::text_end_or_last_newline}); return;
      case Kind::word_boundary:
        add({.op = Op::word_boundary, .negated = node.negated, .set = node.set});
        return;
    }
  }

  void emit_concat(const RegexNode& node, const First& follow) {
    std::vector<First> follows{follow};
    for (size_t i = node.children.size(); i-- > 1;)
      follows.push_back(first_.at(&node.children[i]).then(follows.back()));
    for (const RegexNode& child : node.children) {
      emit(child, follows.back());
      follows.pop_back();
    }
  }

  void emit_alternate(const RegexNode& node, const First& follow) {
    std::vector<uint32_t> jumps;
    for (size_t i = 0; i < node.children.size(); ++i) {
      const bool last = i + 1 == node.children.size();
      const uint32_t split = last ? 0 : add_split();
      const uint32_t body = here();
      emit(node.children[i], follow);
      if (last) break;
      jumps.push_back(add({.op = Op::jump}));
      set_split(split, body, here(), false);
    }
    for (const uint32_t jump : jumps) code_.insts[jump].a = here();
  }

  void emit_loop(const RegexNode& node, const First& follow, bool possessive) {
    RegexInst loop{
        .op = Op::loop, .possessive = possessive, .set = node.children[0].set, .a = node.min, .b = node.max};
    if (!follow.nothing) {
      loop.next = intern(follow.classes);
      if ((follow.classes & sets_[loop.set]).none()) loop.possessive = true;
    }
    add(loop);
  }

  void emit_repeat(const RegexNode& node, const First& follow) {
    const RegexNode& body = node.children[0];
    if (!careful_ && !node.lazy && body.kind == Kind::set) return emit_loop(node, follow, false);
    // Within the repeat a further round may follow, and what it begins with.
    First after = follow;
    after.classes |= first_.at(&body).classes;
    for (uint32_t i = 0; i < node.min; ++i) emit(body, after);
    if (node.max == kUnbounded) {
      const uint32_t split = add_split();
      emit(body, after);
      add({.op = Op::jump, .a = split});
      set_split(split, split + 1, here(), node.lazy);
      return;
    }
    std::vector<uint32_t> splits;
    for (uint32_t i = node.min; i < node.max; ++i) {
      splits.push_back(add_split());
      emit(body, after);
    }
    for (const uint32_t split : splits) set_split(split, split + 1, here(), node.lazy);
  }

  void emit_atomic(const RegexNode& node) {
    const RegexNode& body = node.children[0];
    const bool run = body.kind == Kind::repeat && body.children[0].kind == Kind::set && !body.lazy;
    if (run && !careful_) return emit_loop(body, {}, true);
    emit_inner(add({.op = Op::atomic}), body);
  }

  void emit_look(const RegexNode& node) {
    const RegexNode& body = node.children[0];
    if (body.kind == Kind::set) {
      add({.op = Op::look_set, .negated = node.negated, .set = body.set});
      return;
    }
    emit_inner(add({.op = Op::look, .negated = node.negated}), body);
  }

  void emit_inner(uint32_t outer, const RegexNode& body) {
    emit(body, {});
    add({.op = Op::accept});
    code_.insts[outer].a = here();
  }

  void add_candidates(size_t alternative, const First& first) {
    const uint64_t bit = uint64_t{1} << alternative;
    for (size_t i = 0; i < program_.classes.size(); ++i)
      if (first.nothing || first.classes[i]) program_.class_candidates[i] |= bit;
    for (char32_t c = 0; c < 128; ++c)
      program_.ascii_candidates[c] = program_.class_candidates[program_.classes[c]];
    if (first.nothing) program_.end_candidates |= bit;
  }

  void add_members() {
    for (const Classes& set : sets_) {
      auto& by_class = program_.class_members.emplace_back();
      for (size_t i = 0; i < by_class.size(); ++i) by_class[i] = set[i];
      auto& by_byte = program_.ascii_members.emplace_back();
      for (char32_t c = 0; c < 128; ++c) by_byte[c] = set[program_.classes[c]];
    }
  }

  const RegexNode& root_;
  RegexProgram program_;
  RegexProgram::Code code_;
  std::vector<Classes> sets_;  // the pattern's own, then those made for loops
  std::unordered_map<const RegexNode*, First> first_;
  bool careful_ = false;
  size_t work_ = 0;
};

}  // namespace

CodePointClasses::CodePointClasses(const std::vector<CodePoints>& sets) {
  if (sets.size() > kMaxClasses) throw Error("too many different classes of characters");
  // Where membership changes, in order; between two such places all code points are of one class.
  std::vector<std::pair<char32_t, size_t>> changes;
  for (size_t i = 0; i < sets.size(); ++i) {
    for (const CodeRange& range : sets[i].ranges()) {
      changes.emplace_back(range.first, i);
      changes.emplace_back(range.last + 1, i);
    }
  }
  std::sort(changes.begin(), changes.end());

  std::unordered_map<Classes, uint8_t> known;  // by the sets that hold such a code point
  Classes membership;
  std::vector<std::pair<char32_t, uint8_t>> runs;  // {first code point, class}
  for (size_t i = 0;;) {
    const char32_t from = runs.empty() && (changes.empty() || changes[0].first > 0) ? 0 : changes[i].first;
    for (; i < changes.size() && changes[i].first == from; ++i) membership[changes[i].second].flip();
    if (from > kLastCodePoint) break;
    const auto [entry, fresh] = known.try_emplace(membership, static_cast<uint8_t>(representatives_.size()));
    if (fresh) {
      if (representatives_.size() == kMaxClasses) throw Error("too many different classes of characters");
      representatives_.push_back(from);
    }
    runs.emplace_back(from, entry->second);
    if (i == changes.size()) break;
  }

  constexpr size_t kBlock = 128;
  std::array<uint16_t, kMaxClasses> uniform;  // the block that is all of one class
  uniform.fill(0xFFFF);
  size_t run = 0;
  for (char32_t first = 0; first <= kLastCodePoint; first += kBlock) {
    while (run + 1 < runs.size() && runs[run + 1].first <= first) ++run;
    const bool one_class = run + 1 == runs.size() || runs[run + 1].first >= first + kBlock;
    uint16_t& shared = uniform[runs[run].second];
    if (one_class && shared != 0xFFFF) {
      index_.push_back(shared);
      continue;
    }
    index_.push_back(static_cast<uint16_t>(blocks_.size() / kBlock));
    if (one_class) shared = index_.back();
    size_t inner = run;
    for (char32_t c = first; c < first + kBlock; ++c) {
      while (inner + 1 < runs.size() && runs[inner + 1].first <= c) ++inner;
      blocks_.push_back(runs[inner].second);
    }
  }
}

RegexProgram compile_regex(const RegexSyntax& syntax) { return Compiler(syntax).compile(); }

}  // namespace minke

#include "engine/mtp.h"

#include <limits>

#include "base/error.h"

namespace minke {

void MtpDrafter::follow(std::span<const Fed> fed) {
  catch_up(fed);
  while (!growing_.empty()) grow();
}

// One pass over the rows of the step, whose final hidden states are still in state.normed.
void MtpDrafter::catch_up(std::span<const Fed> fed) {
  tokens_.clear();
  slices_.clear();
  given_.clear();
  growing_.clear();
  const State& state = instance_.state();
  const int dim = instance_.config().dim;
  for (const Fed& f : fed) {
    Sequence& s = *f.sequence;
    const int count = s.kv.length - f.position;
    const bool kept = !s.end || s.kv.length >= kPageTokens;  // else its pages are given back at once
    if (!follows(s, f.position) || !kept) continue;
    const int first = static_cast<int>(tokens_.size());
    slices_.push_back(
        {&s.kv, first, count, f.position, f.draft > 0 ? Want::last_logits : Want::nothing, s.prompt_size()});
    for (int i = 0; i < count; ++i) {
      tokens_.push_back(s.tokens[static_cast<size_t>(f.position + i + 1)]);
      given_.push_back({first + i, state.normed + int64_t{f.row + i} * dim});
    }
    if (f.draft > 0) growing_.push_back({&s, static_cast<int>(growing_.size()), f.draft});
  }
  if (tokens_.empty()) return;
  pass();
  for (const SequenceSlice& slice : slices_) slice.kv->mtp_length = slice.kv->length;
}

// A token for each draft that grows, and a pass over those that are to grow further.
void MtpDrafter::grow() {
  std::erase_if(growing_, [&](const Growing& g) { return !add_token(g); });
  if (growing_.empty()) return;
  tokens_.clear();
  slices_.clear();
  given_.clear();
  const int64_t dim = instance_.config().dim;
  for (Growing& g : growing_) {
    Sequence& s = *g.sequence;
    const int row = static_cast<int>(tokens_.size());
    const int position = s.kv.length - 1 + static_cast<int>(s.draft.size());
    tokens_.push_back(s.draft.back());
    slices_.push_back({&s.kv, row, 1, position, Want::last_logits, s.prompt_size()});
    given_.push_back({row, instance_.state().output + g.row * dim});
    g.row = row;
  }
  pass();
}

// The next token of a draft; false where it is the last.
bool MtpDrafter::add_token(const Growing& g) {
  Sequence& s = *g.sequence;
  const int vocab = instance_.config().vocab;
  const std::span<float> logits(instance_.state().logits + int64_t{g.row} * vocab,
                                static_cast<size_t>(vocab));
  for (const Token t : banned_) logits[static_cast<size_t>(t)] = -std::numeric_limits<float>::infinity();
  const size_t said = s.tokens.size();
  s.tokens.insert(s.tokens.end(), s.draft.begin(), s.draft.end());
  bool more = true;
  try {
    s.draft.push_back(pick(s.request.sampling, s.said(), logits));
  } catch (const Error&) {  // an answer does not fail for its draft
    more = false;
  }
  s.tokens.resize(said);
  return more && static_cast<int>(s.draft.size()) < g.wanted;
}

void MtpDrafter::pass() { instance_.forward_mtp({tokens_, slices_, given_}); }

}  // namespace minke

#include "train/spool.h"

#include <system_error>

#include "base/error.h"

namespace minke {
namespace {

constexpr uint32_t kNotLearned = uint32_t{1} << 31;  // beside a token

}  // namespace

Spool::Spool(fs::path path) : path_(std::move(path)), out_(path_, std::ios::binary | std::ios::trunc) {
  if (!out_) throw Error("cannot create", path_.string());
}

Spool::~Spool() {
  std::error_code none;
  fs::remove(path_, none);
}

void Spool::add(const LearnedTokens& document, uint64_t key) {
  MINKE_CHECK(!document.tokens.empty() && document.tokens.size() < UINT32_MAX);
  buffer_.clear();
  for (size_t i = 0; i < document.tokens.size(); ++i) {
    const bool learned = document.learned.empty() || document.learned[i];
    all_learned_ = all_learned_ && learned;
    buffer_.push_back(static_cast<uint32_t>(document.tokens[i]) | (learned ? 0 : kNotLearned));
  }
  out_.write(reinterpret_cast<const char*>(buffer_.data()), static_cast<std::streamsize>(4 * buffer_.size()));
  if (!out_) throw Error("cannot write: the disk may be full", path_.string());
  entries_.push_back({tokens_, static_cast<uint32_t>(buffer_.size()), key});
  tokens_ += buffer_.size();
  const Hash128 h = hash128(std::as_bytes(std::span(buffer_)), hash_.high);
  hash_ = {h.high + hash_.low, h.low};
}

void Spool::close() {
  out_.close();
  if (!out_) throw Error("cannot write: the disk may be full", path_.string());
  file_ = MappedFile(path_);
}

Hash128 Spool::hash() const { return hash_; }

void Spool::append_to(ShardContent& content, size_t index) const {
  const Entry& entry = entries_[index];
  const auto* const words = reinterpret_cast<const uint32_t*>(file_.bytes().data()) + entry.begin;
  std::vector<Token> tokens(entry.tokens);
  std::vector<bool> learned(all_learned_ ? 0 : entry.tokens);
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<Token>(words[i] & ~kNotLearned);
    if (!all_learned_) learned[i] = (words[i] & kNotLearned) == 0;
  }
  if (all_learned_)
    content.add(tokens);
  else
    content.add(tokens, learned);
}

}  // namespace minke

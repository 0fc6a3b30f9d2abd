#include "text/added_tokens.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include <utf8proc.h>

#include "text/utf8.h"

namespace minke {
namespace {

bool is_white_space(char32_t c) {
  if (c == 0x85 || (c >= 0x09 && c <= 0x0D)) return true;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

bool is_word(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return c == 0x200C || c == 0x200D;  // the joiners
  }
}

char32_t last_code_point(std::string_view text) {
  const char* p = text.data() + text.size();
  step_back_utf8(p);
  return decode_utf8(p);
}

char32_t first_code_point(std::string_view text) {
  const char* p = text.data();
  return decode_utf8(p);
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    return std::tie(a.text, a.id) < std::tie(b.text, b.id);
  });
  const auto same = [](const AddedToken& a, const AddedToken& b) { return a.text == b.text; };
  tokens_.erase(std::unique(tokens_.begin(), tokens_.end(), same), tokens_.end());
  for (const AddedToken& token : tokens_) first_bytes_[static_cast<unsigned char>(token.text[0])] = true;
  begin_alike_ = std::count(first_bytes_.begin(), first_bytes_.end(), true) == 1;
  if (begin_alike_) only_first_byte_ = tokens_[0].text[0];
}

// Narrows the sorted tokens down byte by byte; one that ends where the others go on comes first among them.
const AddedToken* AddedTokenFinder::longest_at(std::string_view text) const {
  auto first = tokens_.begin(), last = tokens_.end();
  const AddedToken* longest = nullptr;
  for (size_t i = 0; i < text.size() && first != last; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto at = [i](const AddedToken& token) { return static_cast<unsigned char>(token.text[i]); };
    first = std::lower_bound(first, last, byte,
                             [&](const AddedToken& token, unsigned char b) { return at(token) < b; });
    last = std::upper_bound(first, last, byte,
                            [&](unsigned char b, const AddedToken& token) { return b < at(token); });
    if (first != last && first->text.size() == i + 1) longest = &*first++;
  }
  return longest;
}

std::vector<AddedTokenFinder::Match> AddedTokenFinder::find(std::string_view text,
                                                            const std::vector<TextRun>& runs,
                                                            bool skip_special) const {
  std::vector<Match> matches;
  if (empty()) return matches;
  size_t done = 0;  // what lies before is taken
  for (const TextRun& run : runs) {
    for (size_t at = std::max(run.begin, done); at < run.end;) {
      if (begin_alike_) {
        const void* next = std::memchr(text.data() + at, only_first_byte_, run.end - at);
        if (next == nullptr) break;
        at = static_cast<size_t>(static_cast<const char*>(next) - text.data());
      } else if (!first_bytes_[static_cast<unsigned char>(text[at])]) {
        ++at;
        continue;
      }
      const AddedToken* token = longest_at(text.substr(at, run.end - at));
      if (token == nullptr) {
        ++at;
        continue;
      }
      size_t begin = at, end = at + token->text.size();
      at = end;
      if (skip_special && token->special) continue;
      if (token->single_word && ((begin > 0 && is_word(last_code_point(text.substr(0, begin)))) ||
                                 (end < text.size() && is_word(first_code_point(text.substr(end))))))
        continue;
      while (token->lstrip && begin > done && is_white_space(last_code_point(text.substr(0, begin)))) {
        const char* p = text.data() + begin;
        step_back_utf8(p);
        begin = static_cast<size_t>(p - text.data());
      }
      while (token->rstrip && end < text.size() && is_white_space(first_code_point(text.substr(end)))) {
        const char* p = text.data() + end;
        decode_utf8(p);
        end = static_cast<size_t>(p - text.data());
      }
      matches.push_back({begin, end, token->id});
      at = done = end;
    }
  }
  return matches;
}

}  // namespace minke

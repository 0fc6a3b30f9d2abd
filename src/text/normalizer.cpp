#include "text/normalizer.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <new>
#include <utility>

#include <utf8proc.h>

#include "base/error.h"
#include "text/utf8.h"

namespace minke {
namespace {

using Kind = NormalizerStep::Kind;

// text[begin, end) gives way to `replacement`. Lists of them are sorted and do not overlap.
struct Edit {
  size_t begin, end;
  std::string replacement;
};
using Edits = std::vector<Edit>;

std::string with_utf8proc(std::string_view text, Kind form) {
  const int options = UTF8PROC_STABLE |
                      (form == Kind::nfc || form == Kind::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                      (form == Kind::nfkc || form == Kind::nfkd ? UTF8PROC_COMPAT : 0);
  utf8proc_uint8_t* mapped = nullptr;
  const auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                              static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                              static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (n == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  if (n < 0) throw Error(std::string("cannot normalise the text: ") + utf8proc_errmsg(n));
  return {reinterpret_cast<const char*>(mapped), static_cast<size_t>(n)};
}

// Only stretches of characters that may interact are handed on, each with the one before it, which they may
// join.
Edits form_edits(std::string_view text, Kind form) {
  Edits edits;
  const char *const begin = text.data(), *const end = begin + text.size();
  const auto afresh = [form](char32_t c) {
    return c < 0x80 || (form == Kind::nfc && starts_afresh_in_nfc(c));
  };
  const char* last = begin;  // the last character that started afresh
  for (const char* p = begin; p != end;) {
    const char* const here = p;
    if (afresh(decode_utf8(p))) {
      last = here;
      continue;
    }
    const char* stop = p;
    while (p != end && !afresh(decode_utf8(p))) stop = p;
    p = stop;
    const std::string_view stretch(last, static_cast<size_t>(stop - last));
    std::string normalised = with_utf8proc(stretch, form);
    const auto at = static_cast<size_t>(last - begin);
    if (normalised != stretch) edits.push_back({at, at + stretch.size(), std::move(normalised)});
    last = stop;
  }
  return edits;
}

// As Rust's char::to_lowercase: one character in Unicode becomes two.
Edits lowercase_edits(std::string_view text) {
  constexpr char32_t kDottedI = 0x130;
  Edits edits;
  const char *const begin = text.data(), *const end = begin + text.size();
  for (const char* p = begin; p != end;) {
    const auto at = static_cast<size_t>(p - begin);
    const char32_t c = decode_utf8(p);
    const auto lower = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    if (lower == c && c != kDottedI) continue;
    std::string replacement;
    if (c == kDottedI)
      replacement = "i\u0307";
    else
      append_utf8(replacement, lower);
    edits.push_back({at, static_cast<size_t>(p - begin), std::move(replacement)});
  }
  return edits;
}

Edits replace_edits(std::string_view text, const Regex& pattern, const std::string& content) {
  Edits edits;
  RegexScratch scratch;
  for (RegexSearch search(pattern, text, scratch); search.next();)
    edits.push_back({search.match_offset(), search.match_offset() + search.match().size(), content});
  return edits;
}

// An edit inside a run, or an insertion at its edge, becomes part of it; any other ends it.
std::vector<TextRun> move_runs(const std::vector<TextRun>& runs, const Edits& edits) {
  std::vector<TextRun> moved;
  size_t shift = 0;  // of what follows the edits passed so far; wraps around where text shrinks
  auto edit = edits.begin();
  const auto pass = [&] {
    shift += edit->replacement.size() - (edit->end - edit->begin);
    ++edit;
  };
  for (const TextRun& run : runs) {
    const auto ends_before = [&] {
      return edit->end < run.begin || (edit->end == run.begin && edit->begin < edit->end);
    };
    const auto begins_before_end = [&] { return edit->begin < run.end || edit->end == run.end; };
    while (edit != edits.end() && ends_before()) pass();
    size_t from = run.begin + shift;
    for (; edit != edits.end() && begins_before_end(); pass()) {
      if (edit->begin >= run.begin && edit->end <= run.end) continue;
      if (edit->begin + shift > from) moved.push_back({from, edit->begin + shift});
      if (edit->end > run.end) {  // reaches into what follows: later runs must see it too
        from = run.end + shift;
        break;
      }
      from = edit->end + shift + edit->replacement.size() - (edit->end - edit->begin);
    }
    if (run.end + shift > from) moved.push_back({from, run.end + shift});
  }
  return moved;
}

}  // namespace

bool starts_afresh_in_nfc(char32_t c) {
  if (c < 0x300) return true;
  constexpr std::pair<char32_t, char32_t> kAfresh[] = {
      {0x388, 0x482},     {0x48A, 0x58F},     {0x5D0, 0x5EA},   {0x61B, 0x64A},   {0x671, 0x6D5},
      {0x904, 0x939},     {0x960, 0x9BB},     {0xE01, 0xE37},   {0x10A0, 0x1160}, {0x1200, 0x135A},
      {0x1D00, 0x1DBF},   {0x1E00, 0x1F70},   {0x2010, 0x20CF}, {0x2190, 0x2328}, {0x232B, 0x2ADB},
      {0x3001, 0x3029},   {0x3030, 0x3098},   {0x309B, 0xA4CF}, {0xAC00, 0xD7A3}, {0xFE30, 0xFFEF},
      {0x1F000, 0x1FAFF}, {0x20000, 0x2A6DF},
  };
  const auto after = std::upper_bound(std::begin(kAfresh), std::end(kAfresh), c,
                                      [](char32_t x, const auto& range) { return x < range.first; });
  return after != std::begin(kAfresh) && c <= std::prev(after)->second;
}

Normalizer::Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {
  std::optional<UnicodeSets> unicode;
  for (const NormalizerStep& step : steps_) {
    patterns_.emplace_back();
    if (step.kind != Kind::replace) continue;
    if (!unicode) unicode.emplace();
    patterns_.back().emplace(step.pattern, *unicode);
  }
}

void Normalizer::apply(std::string& text, std::vector<TextRun>& runs) const {
  for (size_t i = 0; i < steps_.size() && !text.empty(); ++i) {
    const NormalizerStep& step = steps_[i];
    Edits edits;
    if (step.kind == Kind::prepend)
      edits.push_back({0, 0, step.content});
    else if (step.kind == Kind::replace)
      edits = replace_edits(text, *patterns_[i], step.content);
    else if (step.kind == Kind::lowercase)
      edits = lowercase_edits(text);
    else
      edits = form_edits(text, step.kind);
    if (edits.empty()) continue;

    runs = move_runs(runs, edits);
    std::string edited;
    size_t done = 0;
    for (const Edit& edit : edits) {
      edited.append(text, done, edit.begin - done).append(edit.replacement);
      done = edit.end;
    }
    text = edited.append(text, done);
  }
}

}  // namespace minke

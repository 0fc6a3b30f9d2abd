#include "text/unicode.h"

#include <algorithm>
#include <cctype>
#include <string>

#include <utf8proc.h>

namespace minke {
namespace {

// In utf8proc's order.
constexpr const char* kCategories[] = {"cn", "lu", "ll", "lt", "lm", "lo", "mn", "mc", "me", "nd",
                                       "nl", "no", "pc", "pd", "ps", "pe", "pi", "pf", "po", "sm",
                                       "sc", "sk", "so", "zs", "zl", "zp", "cc", "cf", "cs", "co"};
static_assert(std::size(kCategories) == UTF8PROC_CATEGORY_CO + 1);

constexpr std::pair<const char*, const char*> kLongNames[] = {
    {"letter", "l"},
    {"casedletter", "lc"},
    {"uppercaseletter", "lu"},
    {"lowercaseletter", "ll"},
    {"titlecaseletter", "lt"},
    {"modifierletter", "lm"},
    {"otherletter", "lo"},
    {"mark", "m"},
    {"nonspacingmark", "mn"},
    {"spacingmark", "mc"},
    {"enclosingmark", "me"},
    {"number", "n"},
    {"decimalnumber", "nd"},
    {"letternumber", "nl"},
    {"othernumber", "no"},
    {"punctuation", "p"},
    {"connectorpunctuation", "pc"},
    {"dashpunctuation", "pd"},
    {"openpunctuation", "ps"},
    {"closepunctuation", "pe"},
    {"initialpunctuation", "pi"},
    {"finalpunctuation", "pf"},
    {"otherpunctuation", "po"},
    {"symbol", "s"},
    {"mathsymbol", "sm"},
    {"currencysymbol", "sc"},
    {"modifiersymbol", "sk"},
    {"othersymbol", "so"},
    {"separator", "z"},
    {"spaceseparator", "zs"},
    {"lineseparator", "zl"},
    {"paragraphseparator", "zp"},
    {"other", "c"},
    {"control", "cc"},
    {"format", "cf"},
    {"surrogate", "cs"},
    {"privateuse", "co"},
    {"unassigned", "cn"},
};

// Long stretches of one category: looking at one of their code points is enough.
constexpr CodeRange kUniform[] = {
    {0x3400, 0x4DBF},     {0x4E00, 0x9FFF},   {0xA016, 0xA48C},   {0xAC00, 0xD7A3},   {0xD800, 0xDFFF},
    {0xE000, 0xF8FF},     {0x12000, 0x12399}, {0x13000, 0x1342F}, {0x13460, 0x143FF}, {0x14647, 0x167FF},
    {0x17000, 0x187F7},   {0x18D09, 0x1AFEF}, {0x1B2FC, 0x1BBFF}, {0x1DAB0, 0x1DEFF}, {0x20000, 0x2A6DF},
    {0x2A700, 0x2B739},   {0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0}, {0x2EBE1, 0x2F7FF}, {0x2FA1E, 0x2FFFF},
    {0x30000, 0x3134A},   {0x31350, 0x323AF}, {0x323B0, 0xE0000}, {0xE01F0, 0xEFFFF}, {0xF0000, 0xFFFFD},
    {0x100000, 0x10FFFD},
};

// utf8proc knows no scripts; these are Scripts.txt of Unicode 15, unassigned code points inside a block
// included where they cannot be anything else.
CodePoints han() {
  return {{0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},   {0x3005, 0x3005},   {0x3007, 0x3007},
          {0x3021, 0x3029},   {0x3038, 0x303B},   {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFA6D},
          {0xFA70, 0xFAD9},   {0x16FE2, 0x16FE3}, {0x16FF0, 0x16FF1}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B739},
          {0x2B740, 0x2B81D}, {0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0}, {0x2EBF0, 0x2EE5D}, {0x2F800, 0x2FA1D},
          {0x30000, 0x3134A}, {0x31350, 0x323AF}};
}
CodePoints hiragana() {
  return {{0x3041, 0x3096},   {0x309D, 0x309F},   {0x1B001, 0x1B11F},
          {0x1B132, 0x1B132}, {0x1B150, 0x1B152}, {0x1F200, 0x1F200}};
}
CodePoints katakana() {
  return {{0x30A1, 0x30FA},   {0x30FD, 0x30FF},   {0x31F0, 0x31FF},   {0x32D0, 0x32FE},   {0x3300, 0x3357},
          {0xFF66, 0xFF6F},   {0xFF71, 0xFF9D},   {0x1AFF0, 0x1AFF3}, {0x1AFF5, 0x1AFFB}, {0x1AFFD, 0x1AFFE},
          {0x1B000, 0x1B000}, {0x1B120, 0x1B122}, {0x1B155, 0x1B155}, {0x1B164, 0x1B167}};
}
CodePoints hangul() {
  return {{0x1100, 0x11FF}, {0x302E, 0x302F}, {0x3131, 0x318E}, {0x3200, 0x321E}, {0x3260, 0x327E},
          {0xA960, 0xA97C}, {0xAC00, 0xD7A3}, {0xD7B0, 0xD7C6}, {0xD7CB, 0xD7FB}, {0xFFA0, 0xFFBE},
          {0xFFC2, 0xFFC7}, {0xFFCA, 0xFFCF}, {0xFFD2, 0xFFD7}, {0xFFDA, 0xFFDC}};
}

// Simple case folding. utf8proc gives the full one; where that is more than one character, the lower-case
// letter.
char32_t fold(char32_t c) {
  utf8proc_int32_t folded[8];
  int last_class = 0;
  const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded, std::size(folded),
                                         UTF8PROC_CASEFOLD, &last_class);
  if (n == 1) return static_cast<char32_t>(folded[0]);
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

}  // namespace

CodePoints::CodePoints(std::vector<CodeRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](CodeRange a, CodeRange b) { return a.first < b.first; });
  for (const CodeRange& range : ranges) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1)
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    else
      ranges_.push_back(range);
  }
}

bool CodePoints::contains(char32_t c) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), c,
                                      [](char32_t x, const CodeRange& range) { return x < range.first; });
  return after != ranges_.begin() && c <= std::prev(after)->last;
}

CodePoints CodePoints::operator|(const CodePoints& other) const {
  std::vector<CodeRange> ranges = ranges_;
  ranges.insert(ranges.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePoints(std::move(ranges));
}

CodePoints CodePoints::operator~() const {
  CodePoints result;
  char32_t next = 0;
  for (const CodeRange& range : ranges_) {
    if (next < range.first) result.ranges_.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) result.ranges_.push_back({next, kLastCodePoint});
  return result;
}

UnicodeSets::UnicodeSets() {
  const auto add = [&](int category, char32_t first, char32_t last) {
    auto& ranges = by_category_[static_cast<size_t>(category)];
    if (!ranges.empty() && ranges.back().last + 1 == first)
      ranges.back().last = last;
    else
      ranges.push_back({first, last});
  };
  auto uniform = std::begin(kUniform);
  for (char32_t c = 0; c <= kLastCodePoint; ++c) {
    const int category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    const char32_t first = c;
    if (uniform != std::end(kUniform) && c == uniform->first) c = uniform++->last;
    add(category, first, c);
  }
  // Everything with case is a letter, but for the Roman numerals, the circled letters and the iota below.
  for (const int category : {UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LT,
                             UTF8PROC_CATEGORY_NL, UTF8PROC_CATEGORY_SO, UTF8PROC_CATEGORY_MN}) {
    for (const CodeRange& range : by_category_[static_cast<size_t>(category)]) {
      for (char32_t c = range.first; c <= range.last; ++c) {
        const char32_t folded = fold(c);
        if (folded == c) continue;
        folds_.emplace_back(folded, c);
        folds_.emplace_back(folded, folded);
      }
    }
  }
  std::sort(folds_.begin(), folds_.end());
  folds_.erase(std::unique(folds_.begin(), folds_.end()), folds_.end());
}

// A category by its two letters, or all that begin with one letter, "lc" being the three with case.
CodePoints UnicodeSets::categories(std::string_view name) const {
  std::vector<CodeRange> ranges;
  for (size_t i = 0; i < by_category_.size(); ++i) {
    const std::string_view category = kCategories[i];
    const bool cased = name == "lc" && (category == "lu" || category == "ll" || category == "lt");
    if (category == name || category.substr(0, 1) == name || cased)
      ranges.insert(ranges.end(), by_category_[i].begin(), by_category_[i].end());
  }
  return CodePoints(std::move(ranges));
}

std::optional<CodePoints> UnicodeSets::find(std::string_view name) const {
  std::string key;
  for (const char c : name)
    if (c != ' ' && c != '-' && c != '_')
      key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const auto& [long_name, short_name] : kLongNames)
    if (key == long_name) key = short_name;
  if (key == "any") return CodePoints{{0, kLastCodePoint}};
  if (key == "ascii") return CodePoints{{0, 0x7F}};
  if (key == "assigned") return ~categories("cn");
  if (key == "whitespace") return white_space();
  if (key == "han") return han();
  if (key == "hiragana") return hiragana();
  if (key == "katakana") return katakana();
  if (key == "hangul") return hangul();
  CodePoints set = categories(key);
  if (set.empty()) return std::nullopt;
  return set;
}

CodePoints UnicodeSets::white_space() const {
  return categories("z") | CodePoints{{0x09, 0x0D}, {0x85, 0x85}};
}

CodePoints UnicodeSets::digits() const { return categories("nd"); }

// Letters, marks, digits and connectors; with them the letters among the symbols, and, as Oniguruma has it,
// Latin-1's other numbers.
CodePoints UnicodeSets::word() const {
  return categories("l") | categories("nl") | categories("m") | categories("nd") | categories("pc") |
         CodePoints{{0xB2, 0xB3},       {0xB9, 0xB9},       {0xBC, 0xBE},      {0x24B6, 0x24E9},
                    {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
}

CodePoints UnicodeSets::ignoring_case(const CodePoints& set) const {
  std::vector<CodeRange> ranges(set.ranges().begin(), set.ranges().end());
  for (auto group = folds_.begin(); group != folds_.end();) {
    const auto end =
        std::find_if(group, folds_.end(), [&](const auto& f) { return f.first != group->first; });
    if (std::any_of(group, end, [&](const auto& f) { return set.contains(f.second); }))
      for (auto member = group; member != end; ++member) ranges.push_back({member->second, member->second});
    group = end;
  }
  return CodePoints(std::move(ranges));
}

}  // namespace minke

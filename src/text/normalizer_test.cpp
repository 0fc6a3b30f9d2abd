#include "text/normalizer.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <utf8proc.h>

#include "formats/test_files.h"
#include "text/utf8.h"

namespace minke {
namespace {

using Kind = NormalizerStep::Kind;

std::string normalised(const std::vector<NormalizerStep>& steps, std::string text) {
  std::vector<TextRun> none;
  Normalizer(steps).apply(text, none);
  return text;
}

std::string normalised(const std::vector<NormalizerStep>& steps, std::string text,
                       std::vector<TextRun>& runs) {
  Normalizer(steps).apply(text, runs);
  return text;
}

// The whole text at once.
std::string reference(std::string_view text, int options) {
  utf8proc_uint8_t* out = nullptr;
  const auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                              static_cast<utf8proc_ssize_t>(text.size()), &out,
                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options));
  const std::string result(reinterpret_cast<char*>(out), static_cast<size_t>(n));
  std::free(out);
  return result;
}

std::string utf8(char32_t c) {
  std::string text;
  append_utf8(text, c);
  return text;
}

// What the table promises, from Unicode's data: the code point is itself in NFC, no mark, and never the later
// part of a composition.
TEST(Normalizer, CutsOnlyWhereNothingInteracts) {
  std::set<std::string> later;
  const auto characters = [](const std::string& text) {
    std::vector<std::string> list;
    for (const char* p = text.data(); p != text.data() + text.size();) list.push_back(utf8(decode_utf8(p)));
    return list;
  };
  const auto each = [](auto f) {
    for (char32_t c = 0; c <= 0x10FFFF; ++c) {
      if (c == 0xD800) c = 0xE000;
      f(c);
    }
  };
  each([&](char32_t c) {
    const auto parts = characters(reference(utf8(c), UTF8PROC_DECOMPOSE));
    if (parts.size() > 1) later.insert(parts.begin() + 1, parts.end());
  });
  int count = 0;
  each([&](char32_t c) {
    if (!starts_afresh_in_nfc(c)) return;
    ++count;
    const std::string text = utf8(c);
    ASSERT_EQ(utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class, 0) << uint32_t{c};
    ASSERT_EQ(reference(text, UTF8PROC_COMPOSE), text) << uint32_t{c};
    ASSERT_FALSE(later.contains(characters(reference(text, UTF8PROC_DECOMPOSE))[0])) << uint32_t{c};
  });
  EXPECT_GT(count, 80'000);
}

TEST(Normalizer, GivesTheFormsOfTheWholeText) {
  const auto gen = rc::gen::container<std::vector<const char*>>(rc::gen::elementOf(
      std::vector<const char*>{"a",           "e",      " ",      "\u0301", "\u0323", "\u0308",
                               "é",           "ﬁ",      "か",     "\u3099", "ᄀ",     "\u1161",
                               "\u11A8",      "가",     "각",     "中",     "Å",      "\u212B",
                               "क",           "\u093C", "क़",      "①",      "Ａ",     "ſ",
                               "\u0344",      "😀",     "\u200D", "ά",      "ʼn",     "\u0F71\u0F72",
                               "\u1E9B\u0323"}));
  rc::check([&] {
    std::string text;
    for (const char* part : *gen) text += part;
    RC_ASSERT(normalised({{Kind::nfc}}, text) == reference(text, UTF8PROC_COMPOSE));
    RC_ASSERT(normalised({{Kind::nfd}}, text) == reference(text, UTF8PROC_DECOMPOSE));
    RC_ASSERT(normalised({{Kind::nfkc}}, text) == reference(text, UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
    RC_ASSERT(normalised({{Kind::nfkd}}, text) == reference(text, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT));
  });
}

TEST(Normalizer, DoesItsOtherStepsInTurn) {
  EXPECT_EQ(normalised({{Kind::lowercase}}, "ÀB İ ΑΣ"), "àb i\u0307 ασ");
  EXPECT_EQ(normalised({{.kind = Kind::replace, .pattern = "b+", .content = "--"},
                        {.kind = Kind::prepend, .content = ">"}},
                       "abbc b"),
            ">a--c --");
  EXPECT_EQ(normalised({{.kind = Kind::prepend, .content = ">"}}, ""), "");
  EXPECT_THROW(Normalizer({{.kind = Kind::replace, .pattern = "("}}), Error);
}

TEST(Normalizer, MovesRunsWithTheirText) {
  // e + accent composes: in the first run, across its edge, and outside.
  const std::string text = "xe\u0301y|e\u0301";
  std::vector<TextRun> runs{{0, 5}};
  EXPECT_EQ(normalised({{Kind::nfc}}, text, runs), "xéy|é");
  EXPECT_EQ(runs, (std::vector<TextRun>{{0, 4}}));

  runs = {{0, 2}, {4, 6}};
  normalised({{Kind::nfc}}, text, runs);
  EXPECT_EQ(runs, (std::vector<TextRun>{{0, 1}, {3, 5}}));

  runs = {{1, 2}};
  normalised({{.kind = Kind::replace, .pattern = "b", .content = ""}}, "abbc", runs);
  EXPECT_EQ(runs, (std::vector<TextRun>{}));

  runs = {{0, 1}, {2, 3}};
  EXPECT_EQ(normalised({{.kind = Kind::replace, .pattern = "bb", .content = "_"},
                        {.kind = Kind::prepend, .content = ">>"}},
                       "abbc", runs),
            ">>a_c");
  EXPECT_EQ(runs, (std::vector<TextRun>{{0, 3}}));
}

// Capitals lie in a run, and only they, before and after.
TEST(Normalizer, RunsHoldWhatWasMadeFromThem) {
  rc::check([](const std::vector<std::pair<bool, uint8_t>>& parts) {
    std::string text;
    std::vector<TextRun> runs;
    for (const auto& [in, choice] : parts) {
      const char* part = (in ? std::array{"X", "YY", "Z"} : std::array{"x", "yy", "z"})[choice % 3];
      const size_t begin = text.size();
      text += part;
      if (!in) continue;
      if (!runs.empty() && runs.back().end == begin)
        runs.back().end = text.size();
      else
        runs.push_back({begin, text.size()});
    }
    text = normalised({{.kind = Kind::replace, .pattern = "Y", .content = "VW"},
                       {.kind = Kind::replace, .pattern = "[zZ]", .content = ""},
                       {.kind = Kind::replace, .pattern = "x", .content = "uvw"}},
                      text, runs);
    for (size_t i = 0; i < text.size(); ++i) {
      const auto holds = [i](TextRun run) { return run.begin <= i && i < run.end; };
      RC_ASSERT(std::any_of(runs.begin(), runs.end(), holds) == (text[i] < 'a'));
    }
  });
}

}  // namespace
}  // namespace minke

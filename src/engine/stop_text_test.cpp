#include "engine/stop_text.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace minke {
namespace {

TEST(StopText, CutsAtTheStringAndHoldsBackItsBeginning) {
  StopText stop({"END", "\n\n"});
  EXPECT_EQ(stop.push("one E"), "one ");
  EXPECT_EQ(stop.push("N"), "");
  EXPECT_EQ(stop.push("T\n"), "ENT");
  EXPECT_EQ(stop.push("x END y"), "\nx ");
  EXPECT_EQ(stop.stopped(), "END");
  EXPECT_EQ(stop.push("more"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopText, HeldTextComesOutAtTheEnd) {
  StopText stop({"abc"});
  EXPECT_EQ(stop.push("xab"), "x");
  EXPECT_EQ(stop.finish(), "ab");
}

TEST(StopText, AnySplitOfTheTextGivesTheSame) {
  EXPECT_TRUE(rc::check([] {
    const auto text = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("abc")));
    const auto stops = *rc::gen::container<std::vector<std::string>>(
        rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::elementOf(std::string("abc")))));
    const auto run = [&](size_t piece) {
      StopText s(stops);
      std::string out;
      for (size_t at = 0; at < text.size() && s.stopped().empty(); at += piece)
        out += s.push(text.substr(at, piece));
      if (s.stopped().empty()) out += s.finish();
      return std::make_pair(out, !s.stopped().empty());
    };
    // One character at a time the first stop string that is complete ends the text.
    size_t end = std::string::npos, start = 0;
    for (size_t n = 1; n <= text.size() && end == std::string::npos; ++n) {
      for (const auto& s : stops) {
        if (!std::string_view(text).substr(0, n).ends_with(s)) continue;
        if (end == std::string::npos || n - s.size() < start) start = n - s.size();
        end = n;
      }
    }
    const auto [out, stopped] = run(1);
    RC_ASSERT(stopped == (end != std::string::npos));
    RC_ASSERT(out == (stopped ? text.substr(0, start) : text));
    for (size_t piece = 2; piece <= text.size(); ++piece) RC_ASSERT(run(piece) == run(1));
  }));
}

}  // namespace
}  // namespace minke

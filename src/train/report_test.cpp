#include "train/report.h"

#include <gtest/gtest.h>

namespace minke {
namespace {

size_t count(const std::string& text, std::string_view part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(Report, DrawsWhatTheLogHas) {
  std::string log;
  for (int step = 1; step <= 5000; ++step)
    log += "{\"step\":" + std::to_string(step) + ",\"loss\":" + std::to_string(5.0 / step) +
           ",\"norm\":2.5,\"expert_load\":[0.5,1.5]}\n";
  log += "{\"rolled_back\":7,\"to\":3}\n{\"step\":5001,\"lo";
  const std::string page = report_html(log, "a <run> & more");
  EXPECT_EQ(count(page, "<svg"), 4u);  // loss, norm, both loads
  EXPECT_NE(page.find("a &lt;run&gt; &amp; more"), page.npos);
  EXPECT_EQ(page.find("nan"), page.npos);
  const size_t line = page.find("<polyline");
  EXPECT_LE(std::count(page.begin() + static_cast<int64_t>(line),
                       page.begin() + static_cast<int64_t>(page.find("/>", line)), ','),
            1000);
}

TEST(Report, AnEmptyLogIsNoMistake) {
  EXPECT_EQ(count(report_html("", "run"), "<svg"), 0u);
  EXPECT_EQ(count(report_html("{\"step\":1,\"skipped\":true}\n", "run"), "<svg"), 0u);
}

}  // namespace
}  // namespace minke

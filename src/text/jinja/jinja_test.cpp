#include "text/jinja/jinja.h"

#include <cstdio>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"

namespace minke::jinja {
namespace {

std::tm parse_time(const std::string& text) {  // 2025-07-04T12:34:56
  std::tm time{};
  EXPECT_EQ(std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d", &time.tm_year, &time.tm_mon, &time.tm_mday,
                        &time.tm_hour, &time.tm_min, &time.tm_sec),
            6);
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  timegm(&time);  // sets the days of week and year
  return time;
}

std::string render(std::string_view source, const Json& context = JsonObject{}, RenderOptions options = {}) {
  return plain(Template::parse(source).render(context, options));
}

TEST(Jinja, GoldenCases) {
  const Json golden = parse_json(read_file(MINKE_TESTS_DIR "/golden/jinja/cases.json"));
  RenderOptions options;
  options.now = parse_time(golden.at("now").as_string());
  int passed = 0;
  for (const Json& one : golden.at("cases").as_array()) {
    const std::string& source = one.at("template").as_string();
    std::string rendered, error;
    try {
      rendered = render(source, golden.at("context"), options);
    } catch (const Error& e) {
      error = e.what();
    }
    if (one.find("error")) {
      EXPECT_FALSE(error.empty()) << source << "\ngave " << rendered;
    } else {
      EXPECT_EQ(error, "") << source;
      EXPECT_EQ(rendered, one.at("rendered").as_string()) << source;
    }
    ++passed;
  }
  EXPECT_GT(passed, 100);
}

}  // namespace
}  // namespace minke::jinja

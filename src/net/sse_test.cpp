#include "net/sse.h"

#include <vector>

#include <gtest/gtest.h>

namespace minke {
namespace {

std::vector<std::string> read(std::string_view text, size_t piece) {
  std::vector<std::string> events;
  SseReader reader([&](const ServerSentEvent& e) { events.push_back(e.name + "|" + e.data); });
  for (size_t at = 0; at < text.size(); at += piece) reader.feed(text.substr(at, piece));
  return events;
}

TEST(SseReader, ReadsEventsHoweverTheyAreCut) {
  const std::string_view text =
      ": hello\n\nevent: a\ndata: 1\ndata:2\n\ndata: {\"x\": 1}\r\n\r\nid: 7\nretry\n\ndata\rdata: "
      "z\r\rdata: cut off\n";
  const std::vector<std::string> wanted{"a|1\n2", "|{\"x\": 1}", "|\nz"};
  for (size_t piece = 1; piece <= text.size(); ++piece) EXPECT_EQ(read(text, piece), wanted) << piece;
}

TEST(SseReader, RefusesAnEventWithoutEnd) {
  SseReader reader([](const ServerSentEvent&) {}, 100);
  reader.feed("data: " + std::string(50, 'x') + "\n");
  EXPECT_THROW(reader.feed(std::string(60, 'y')), Error);
}

}  // namespace
}  // namespace minke

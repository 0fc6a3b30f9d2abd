#pragma once
// Stop strings in a stream of text.

#include <string>
#include <string_view>
#include <vector>

namespace minke {

// Passes text through, holding back what may yet become a stop string.
class StopText {
 public:
  explicit StopText(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // The text that is safe to show now. After a stop string was met, stopped() is it and nothing more comes
  // out.
  std::string push(std::string_view text);
  std::string finish();                                    // what was held back
  const std::string& stopped() const { return stopped_; }  // empty: none yet

 private:
  std::vector<std::string> stops_;
  std::string held_, stopped_;
};

}  // namespace minke

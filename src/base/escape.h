#pragma once
// Text from anywhere, fit to be printed.

#include <string>
#include <string_view>

namespace minke {

// The text with control characters, but for those in `kept`, and bytes that are no UTF-8 as \xNN. A terminal
// shows it as it is, and JSON can hold it.
std::string escaped(std::string_view text, std::string_view kept = {});

}  // namespace minke

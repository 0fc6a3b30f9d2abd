#pragma once
// The curves of a run as a page that needs nothing else: OUTPUT/report.html, from its log.

#include <string>
#include <string_view>

namespace minke {

// A whole HTML document with one SVG drawing for each quantity that the log has. Lines that are no JSON
// object are passed over. title: of the page, escaped here.
std::string report_html(std::string_view log, std::string_view title);

}  // namespace minke

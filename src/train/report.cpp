#include "train/report.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"

namespace minke {
namespace {

constexpr int kWidth = 720, kHeight = 220, kLeft = 64, kBottom = 24;
constexpr size_t kMostPoints = 1000;  // of a curve: the others would fall on the same pixels

struct Point {
  double step, value;
};

struct Curve {
  const char *key, *title;
  bool logarithmic = false;
  std::vector<Point> points = {};
};

std::vector<Curve> empty_curves() {
  return {{"loss", "loss of the next token (nats)"},
          {"held_out_loss", "held-out loss of the next token (nats)"},
          {"mtp_loss", "loss of the token after it (nats)"},
          {"indexer_loss", "indexer: divergence from attention (nats)"},
          {"reference_loss", "divergence from the model without adapters (nats)"},
          {"norm", "norm of the gradients", true},
          {"rate", "learning rate"},
          {"busiest", "load of the busiest expert, of the mean"},
          {"idlest", "load of the idlest expert, of the mean"},
          {"tokens_per_second", "tokens a second"}};
}

std::optional<double> value_of(const Json& line, std::string_view key) {
  const Json* load = line.find("expert_load");
  if (load && load->is_array() && load->as_array().size() == 2) {
    if (key == "idlest") return load->as_array()[0].as_double();
    if (key == "busiest") return load->as_array()[1].as_double();
  }
  const Json* value = line.find(key);
  if (!value || !value->is_number()) return std::nullopt;
  return value->as_double();
}

void read_line(std::string_view text, std::vector<Curve>& curves) {
  try {
    const Json line = parse_json(text);
    const Json* step = line.find("step");
    if (!step || !step->is_number()) return;
    for (Curve& curve : curves)
      if (const std::optional<double> value = value_of(line, curve.key))
        if (std::isfinite(*value)) curve.points.push_back({step->as_double(), *value});
  } catch (const Error&) {  // a line cut off
  }
}

// Of neighbours that fall on one pixel, their mean.
std::vector<Point> thinned(const std::vector<Point>& points) {
  const size_t each = (points.size() + kMostPoints - 1) / kMostPoints;
  std::vector<Point> out;
  for (size_t i = 0; i < points.size(); i += each) {
    const size_t end = std::min(i + each, points.size());
    double sum = 0;
    for (size_t j = i; j < end; ++j) sum += points[j].value;
    out.push_back({points[i].step, sum / static_cast<double>(end - i)});
  }
  return out;
}

std::string svg(const Curve& curve) {
  const std::vector<Point> points = thinned(curve.points);
  const auto height = [&](double v) { return curve.logarithmic ? std::log10(std::max(v, 1e-12)) : v; };
  double low = height(points[0].value), high = low;
  for (const Point& p : points) {
    low = std::min(low, height(p.value));
    high = std::max(high, height(p.value));
  }
  if (high - low < 1e-12) high = low + 1;
  const double first = points.front().step, steps = std::max(1.0, points.back().step - first);
  std::string line;
  for (const Point& p : points)
    line += fmt::format("{:.1f},{:.1f} ", kLeft + (p.step - first) / steps * (kWidth - kLeft - 8),
                        8 + (high - height(p.value)) / (high - low) * (kHeight - kBottom - 8));
  const auto label = [&](double v) { return fmt::format("{:.4g}", curve.logarithmic ? std::pow(10, v) : v); };
  return fmt::format(
      "<h2>{}</h2>\n<svg viewBox=\"0 0 {} {}\" role=\"img\">\n"
      "<path d=\"M{} 8V{}H{}\" class=\"axis\"/>\n<text x=\"{}\" y=\"14\" class=\"y\">{}</text>"
      "<text x=\"{}\" y=\"{}\" class=\"y\">{}</text>\n<text x=\"{}\" y=\"{}\">step {:.0f}</text>"
      "<text x=\"{}\" y=\"{}\" class=\"y\">{:.0f}</text>\n<polyline points=\"{}\"/>\n</svg>\n",
      curve.title, kWidth, kHeight, kLeft, kHeight - kBottom, kWidth - 8, kLeft - 6, label(high), kLeft - 6,
      kHeight - kBottom, label(low), kLeft, kHeight - 6, first, kWidth - 8, kHeight - 6, points.back().step,
      line);
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text)
    out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return out;
}

}  // namespace

std::string report_html(std::string_view log, std::string_view title) {
  std::vector<Curve> curves = empty_curves();
  for (size_t at = 0; at < log.size();) {
    const size_t end = std::min(log.find('\n', at), log.size());
    read_line(log.substr(at, end - at), curves);
    at = end + 1;
  }
  std::string body;
  for (const Curve& curve : curves)
    if (!curve.points.empty()) body += svg(curve);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{0}</title>\n<style>\n"
      "body{{font:15px sans-serif;max-width:{1}px;margin:2em "
      "auto}}h2{{font-size:15px;font-weight:normal;margin:2em "
      "0 0}}\nsvg{{width:100%}}text{{font-size:11px;fill:#555}}.y{{text-anchor:end}}\n"
      ".axis{{fill:none;stroke:#999}}polyline{{fill:none;stroke:#0a58a6;stroke-width:1.5}}\n</style>\n"
      "<h1>{0}</h1>\n{2}</html>\n",
      escaped(title), kWidth, body.empty() ? "<p>The log has no step yet.</p>\n" : body);
}

}  // namespace minke

#include "train/chart/drawing.hpp"

#include <fmt/format.h>

#include <array>

#include "core/text/utf8.hpp"

namespace minima::chart {
namespace {

// Paths relative to the marker's centre.
constexpr std::array<std::string_view, kStyles> kMarkers = {
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",                     // circle
    "m-3.6 -3.6h7.2v7.2h-7.2z",                                // square
    "m0 -4.8l4.6 8.2h-9.2z",                                   // triangle
    "m0 -5l5 5l-5 5l-5 -5z",                                   // diamond
    "m0 4.8l4.6 -8.2h-9.2z",                                   // triangle, downwards
    "m-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",                  // plus
    "m-4 -1.6v3.2l2.4 2.4h3.2l2.4 -2.4v-3.2l-2.4 -2.4h-3.2z",  // octagon
    "m0 -5.4l1.5 3.6l3.9 .3l-3 2.5l1 3.8l-3.4 -2l-3.4 2l1 -3.8l-3 -2.5l3.9 -.3z",  // star
};

}  // namespace

int style_class(int style) { return style % kStyles; }

std::string place(double x, double y) { return fmt::format("{:.1f} {:.1f}", x, y); }

std::string text(double x, double y, std::string_view classes, std::string_view content) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>", x, y, classes,
                     html::escaped(content));
}

std::string segment(std::string_view classes, double x1, double y1, double x2, double y2) {
  return fmt::format("<path class=\"{}\" d=\"M{}L{}\"/>", classes, place(x1, y1), place(x2, y2));
}

std::string marker(std::string_view classes, int style, double x, double y,
                   const std::string& tip) {
  const auto shape = kMarkers[static_cast<std::size_t>(style_class(style))];
  const std::string title = tip.empty() ? "" : fmt::format("<title>{}</title>", html::escaped(tip));
  return fmt::format("<path class=\"{}\" d=\"M{}{}\">{}</path>", classes, place(x, y), shape,
                     title);
}

std::string group(int style, const std::string& content) {
  return fmt::format("<g class=\"series s{}\">{}</g>\n", style_class(style), content);
}

std::string image(const Label& label, double height, const std::string& content) {
  return fmt::format(
      "<svg class=\"chart\" viewBox=\"0 0 {0} {1:.0f}\" role=\"img\" "
      "aria-labelledby=\"{2}-title {2}-desc\">\n"
      "<title id=\"{2}-title\">{3}</title><desc id=\"{2}-desc\">{4}</desc>\n{5}</svg>\n",
      kWidth, height, label.id, html::escaped(label.title), html::escaped(label.description),
      content);
}

double width_of(std::string_view text) {
  double width = 0;
  for (const char c : text) {
    if (!begins_character(c)) continue;
    width += std::string_view("mwMW%@").find(c) != std::string_view::npos          ? 14.6
             : std::string_view("iljtfr.,:;'| ").find(c) != std::string_view::npos ? 6.2
                                                                                   : 9.7;
  }
  return width;
}

double margin_for(double widest_name) { return 26 + widest_name; }

std::string swatch(int style) {
  return fmt::format("<svg class=\"swatch\" viewBox=\"0 0 34 12\" aria-hidden=\"true\">{}</svg>",
                     group(style, segment("line", 0, 6, 34, 6) + marker("mark", style, 17, 6)));
}

}  // namespace minima::chart

/// What every chart is drawn with: type, lines and markers, as SVG.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "train/chart.hpp"
#include "train/html.hpp"

namespace minima::chart {

inline constexpr double kWidth = 480, kHeight = 290;
inline constexpr int kStyles = 8;
inline constexpr std::size_t kNameWidth = 18;  ///< characters of a name that are shown
inline constexpr double kLineHeight = 17;

int style_class(int style);

/// How wide text may become: in a wide typeface, in the larger type of narrow screens.
double width_of(std::string_view text);
/// A name as it is shown.
inline std::string shown(const std::string& name) { return html::shortened(name, kNameWidth); }
/// The names of what stands in one chart, apart from one another.
template <class Named>
std::vector<std::string> shown(const std::vector<Named>& all) {
  std::vector<std::string> names;
  for (const Named& one : all) names.push_back(one.name);
  return html::shortened(names, kNameWidth);
}
/// What stands for a marker and the longest of the names beside a plot.
double margin_for(double widest_name);

std::string place(double x, double y);  ///< as a path has it
std::string text(double x, double y, std::string_view classes, std::string_view content);
std::string segment(std::string_view classes, double x1, double y1, double x2, double y2);
std::string marker(std::string_view classes, int style, double x, double y,
                   const std::string& tip = {});
std::string group(int style, const std::string& content);
std::string image(const Label& label, double height, const std::string& content);

}  // namespace minima::chart

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/chart/axes.hpp"

namespace minima::chart {

std::string bars(const Label& label, const std::vector<Bar>& bars) {
  constexpr double kRow = 24, kTop = 4;
  Range range;
  double widest_name = 0, widest_text = 0;
  range.include(0);
  const std::vector<std::string> names = shown(bars);
  for (const std::string& name : names) widest_name = std::max(widest_name, width_of(name));
  for (const Bar& bar : bars) {
    range.include(bar.value + bar.deviation);
    widest_text = std::max(widest_text, width_of(bar.text));
  }
  const double left = margin_for(widest_name);
  const double right = kWidth - 12 - widest_text;
  const double unit = range.high > 0 ? (right - left) / range.high : 0;
  std::string out;
  double middle = kTop + kRow / 2;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const Bar& bar = bars[i];
    std::string content =
        marker("mark", bar.style, 6, middle) + text(left - 8, middle + 4, "name end", names[i]);
    double end = left;
    if (std::isfinite(bar.value)) {
      end += unit * bar.value;
      content += fmt::format(
          "<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"14\"/>", left,
          middle - 7, end - left);
      const double reach = unit * bar.deviation;
      if (reach > 0) content += segment("whisker", end - reach, middle, end + reach, middle);
      end += reach;
    }
    content += text(end + 6, middle + 4, "number", bar.text);
    out += group(bar.style, content);
    middle += kRow;
  }
  const double bottom = kTop + kRow * static_cast<double>(bars.size());
  out += segment("axis", left, kTop, left, bottom);
  return image(label, bottom + 4, out);
}

}  // namespace minima::chart

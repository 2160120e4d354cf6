#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/chart/axes.hpp"

namespace minima::chart {
namespace {

/// A free place for a name beside a point: the first of right, left, above, below (and those
/// further off) that meets nothing placed before.
Box place_name(const Frame& frame, double x, double y, double width, std::vector<Box>& taken) {
  const auto box = [](double left, double middle, double width) {
    return Box{left, middle - kLineHeight / 2, left + width, middle + kLineHeight / 2};
  };
  std::vector<Box> candidates;
  for (double away = 0; away < 5; ++away)
    for (const double side : {-1.0, 1.0}) {
      const double shift = side * away * kLineHeight;
      candidates.push_back(box(x + 10, y + shift, width));
      candidates.push_back(box(x - 10 - width, y + shift, width));
    }
  for (const double side : {-1.0, 1.0})
    candidates.push_back(box(x - width / 2, y + side * 1.2 * kLineHeight, width));
  const auto free = [&](const Box& b) {
    return b.left >= frame.left && b.right <= kWidth && b.top >= 0 && b.bottom <= frame.bottom &&
           std::ranges::none_of(taken, [&](const Box& t) { return b.meets(t); });
  };
  const auto found = std::ranges::find_if(candidates, free);
  Box chosen = found == candidates.end() ? candidates.front() : *found;
  if (chosen.right > kWidth) chosen = {kWidth - width, chosen.top, kWidth, chosen.bottom};
  taken.push_back(chosen);
  return chosen;
}

}  // namespace

std::string scatter(const Label& label, const Axis& x, const Axis& y,
                    const std::vector<Cloud>& clouds, const std::vector<Rule>& rules) {
  Range x_range, y_range;
  for (const Cloud& c : clouds) {
    for (const Point& p : c.points) x_range.include(p.x), y_range.include(p.y);
    for (const double side : {-1.0, 1.0}) {
      x_range.include(c.mean.x + side * c.deviation_x);
      y_range.include(c.mean.y + side * c.deviation_y);
    }
  }
  for (const Rule& rule : rules) y_range.include(rule.y);
  const Frame frame(x, x_range, y, y_range, 24);

  std::string out = frame.axes(x, y);
  for (const Rule& rule : rules) out += frame.rule_line(rule);
  std::vector<Point> points;
  for (const Cloud& c : clouds) points.insert(points.end(), c.points.begin(), c.points.end());
  std::vector<Box> taken;
  std::string rule_names;
  for (const Rule& rule : rules) {
    taken.push_back(frame.place_rule_name(rule, points));
    rule_names += frame.rule_name(rule, taken.back());
  }
  const auto visible = [](const Cloud& c) {
    return std::isfinite(c.mean.x) && std::isfinite(c.mean.y);
  };
  for (const Cloud& c : clouds)
    if (visible(c)) {
      const double at_x = frame.x(c.mean.x), at_y = frame.y(c.mean.y);
      taken.push_back({at_x - 6, at_y - 6, at_x + 6, at_y + 6});
    }
  const std::vector<std::string> names = shown(clouds);
  for (std::size_t i = 0; i < clouds.size(); ++i) {
    const Cloud& c = clouds[i];
    if (!visible(c)) continue;
    const double at_x = frame.x(c.mean.x), at_y = frame.y(c.mean.y);
    std::string content;
    if (c.deviation_y > 0)
      content += segment("whisker", at_x, frame.y(c.mean.y - c.deviation_y), at_x,
                         frame.y(c.mean.y + c.deviation_y));
    if (c.deviation_x > 0)
      content += segment("whisker", frame.x(c.mean.x - c.deviation_x), at_y,
                         frame.x(c.mean.x + c.deviation_x), at_y);
    if (c.points.size() > 1)
      for (const Point& p : c.points)
        if (std::isfinite(p.x) && std::isfinite(p.y))
          content += fmt::format("<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2\"/>",
                                 frame.x(p.x), frame.y(p.y));
    content += marker("mark mean", c.style, at_x, at_y, c.mean.tip);
    const Box place = place_name(frame, at_x, at_y, width_of(names[i]), taken);
    const bool before = place.right <= at_x;
    content += text(before ? place.right : place.left, (place.top + place.bottom) / 2 + 4,
                    before ? "name end" : "name", names[i]);
    out += group(c.style, content);
  }
  return image(label, kHeight, out + rule_names);
}

}  // namespace minima::chart

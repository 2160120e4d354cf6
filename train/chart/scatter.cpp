#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/chart/axes.hpp"

namespace minima::chart {
namespace {

/// What a name may not cover (names and markers) and what it should not (whiskers).
struct Taken {
  std::vector<Box> never, rather_not;
};

/// A place for a name at the side of a point: the nearest of those that cover least.
Box place_name(const Frame& frame, double x, double y, double width, Taken& taken) {
  constexpr double kCovered = 1e6, kCrossed = 3 * kLineHeight;  // what they cost, as a distance
  Box best{};
  double least = std::numeric_limits<double>::infinity();
  const double far = std::floor((frame.bottom - frame.top) / kLineHeight);
  for (const double sideways : {10, 30, 60, 90, 180, 270})
    for (double up = -far; up <= far; ++up)
      for (const double beside : {x + sideways, x - sideways - width}) {
        const double left = std::clamp(beside, frame.left, std::max(frame.left, kWidth - width));
        const double middle = y + up * kLineHeight;
        const Box box{left, middle - kLineHeight / 2, left + width, middle + kLineHeight / 2};
        if (box.top < frame.top || box.bottom > frame.bottom) continue;
        const auto meets = [&](const Box& other) { return box.meets(other); };
        const auto covered = static_cast<double>(std::ranges::count_if(taken.never, meets));
        const auto crossed = static_cast<double>(std::ranges::count_if(taken.rather_not, meets));
        const double cost =
            kCovered * covered + kCrossed * crossed + std::hypot(sideways, middle - y);
        if (cost < least) best = box, least = cost;
      }
  taken.never.push_back(best);
  return best;
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
  const Frame frame(x, x_range, y, y_range, 24, clouds.size());

  std::string out = frame.axes(x, y);
  for (const Rule& rule : rules) out += frame.rule_line(rule);
  std::vector<Point> points;
  for (const Cloud& c : clouds) points.insert(points.end(), c.points.begin(), c.points.end());
  Taken taken;
  std::string rule_names;
  for (const Rule& rule : rules) {
    taken.never.push_back(frame.place_rule_name(rule, points));
    rule_names += frame.rule_name(rule, taken.never.back());
  }
  const auto visible = [](const Cloud& c) {
    return std::isfinite(c.mean.x) && std::isfinite(c.mean.y);
  };
  for (const Cloud& c : clouds)
    if (visible(c)) {
      const double at_x = frame.x(c.mean.x), at_y = frame.y(c.mean.y);
      taken.never.push_back({at_x - 6, at_y - 6, at_x + 6, at_y + 6});
      taken.rather_not.push_back({at_x - 1, frame.y(c.mean.y + c.deviation_y), at_x + 1,
                                  frame.y(c.mean.y - c.deviation_y)});
      taken.rather_not.push_back({frame.x(c.mean.x - c.deviation_x), at_y - 1,
                                  frame.x(c.mean.x + c.deviation_x), at_y + 1});
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
    const double start = before ? place.right : place.left;
    const double middle = (place.top + place.bottom) / 2;
    if (std::hypot(start - at_x, middle - at_y) > kLineHeight)  // far off: led there
      content += segment("leader", at_x, at_y, before ? start + 3 : start - 3, middle);
    content += text(start, middle + 4, before ? "name end" : "name", names[i]);
    out += group(c.style, content);
  }
  return image(label, frame.height, out + rule_names);
}

}  // namespace minima::chart

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "train/chart/axes.hpp"

namespace minima::chart {
namespace {

/// The lowest and the highest point of each of `buckets` equal parts, and one where nothing can be
/// drawn, in order: a curve drawn through them covers the same pixels.
std::vector<Point> thinned(const std::vector<Point>& points, std::size_t buckets) {
  if (points.size() <= 2 * buckets) return points;
  std::vector<Point> out{points.front()};
  for (std::size_t b = 0; b < buckets; ++b) {
    const auto first = points.begin() + static_cast<std::ptrdiff_t>(points.size() * b / buckets);
    const auto last =
        points.begin() + static_cast<std::ptrdiff_t>(points.size() * (b + 1) / buckets);
    auto low = last, high = last, gap = last;
    for (auto p = first; p != last; ++p) {
      if (!std::isfinite(p->y)) {
        gap = p;
        continue;
      }
      if (low == last || p->y < low->y) low = p;
      if (high == last || p->y > high->y) high = p;
    }
    std::set kept = {low, high, gap};
    kept.erase(last);
    for (const auto p : kept) out.push_back(*p);
  }
  out.push_back(points.back());
  return out;
}

/// One path through all finite points; the others interrupt it.
std::string curve(std::string_view classes, const Frame& frame, const std::vector<Point>& points) {
  std::string d;
  char command = 'M';
  for (const Point& p : points) {
    if (!std::isfinite(p.x) || !std::isfinite(p.y)) {
      command = 'M';
      continue;
    }
    d += command + place(frame.x(p.x), frame.y(p.y));
    command = 'L';
  }
  return d.empty() ? "" : fmt::format("<path class=\"{}\" d=\"{}\"/>", classes, d);
}

std::string area(const Frame& frame, const std::vector<Interval>& band) {
  std::vector<Point> low, high;
  for (const Interval& i : band) {
    if (!std::isfinite(i.low) || !std::isfinite(i.high)) continue;
    low.push_back({i.x, i.low});
    high.push_back({i.x, i.high});
  }
  if (low.size() < 2) return {};
  std::vector<Point> outline = thinned(high, 120), back = thinned(low, 120);
  outline.insert(outline.end(), back.rbegin(), back.rend());
  return curve("band", frame, outline);
}

/// Moves heights apart until none is closer than `gap` to the next, within [top, bottom].
std::vector<double> spread(const std::vector<double>& heights, double gap, double top,
                           double bottom) {
  std::vector<std::size_t> order(heights.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return heights[i]; });
  std::vector<double> out = heights;
  double free = top;
  for (const std::size_t i : order) free = (out[i] = std::max(out[i], free)) + gap;
  double limit = bottom;
  for (auto i = order.rbegin(); i != order.rend(); ++i)
    limit = (out[*i] = std::min(out[*i], limit)) - gap;
  return out;
}

/// The last finite point; absent (not finite) where there is none.
Point end_of(const std::vector<Point>& line) {
  for (auto p = line.rbegin(); p != line.rend(); ++p)
    if (std::isfinite(p->x) && std::isfinite(p->y)) return *p;
  return {0, std::numeric_limits<double>::quiet_NaN()};
}

/// Markers tell curves apart without colour: on every point of a short one, on eight of a long.
std::string markers(const Frame& frame, const Series& series) {
  constexpr std::size_t kShort = 30, kFew = 8;
  const std::vector<Point>& line = series.line;
  const std::size_t stride = line.size() <= kShort ? 1 : line.size() / kFew;
  // Shifted by style, lest the markers of near curves cover each other.
  const std::size_t first =
      stride / 2 + stride * static_cast<std::size_t>(style_class(series.style)) / kStyles / 2;
  std::string out;
  for (std::size_t i = stride == 1 ? 0 : first; i < line.size(); i += stride)
    if (std::isfinite(line[i].x) && std::isfinite(line[i].y))
      out += marker("mark", series.style, frame.x(line[i].x), frame.y(line[i].y), line[i].tip);
  return out;
}

}  // namespace

std::string lines(const Label& label, const Axis& x, const Axis& y,
                  const std::vector<Series>& series, const std::vector<Rule>& rules,
                  const std::vector<Mark>& marks) {
  Range x_range, y_range, raw_range;
  std::vector<Point> points;
  double widest = 0;
  const std::vector<std::string> shown_names = shown(series);
  for (const std::string& name : shown_names) widest = std::max(widest, width_of(name));
  for (const Series& s : series) {
    for (const Point& p : s.line) x_range.include(p.x), y_range.include(p.y);
    points.insert(points.end(), s.line.begin(), s.line.end());
    points.insert(points.end(), s.raw.begin(), s.raw.end());
    for (const Interval& i : s.band) y_range.include(i.low), y_range.include(i.high);
    for (const Point& p : s.raw) raw_range.include(p.y);
  }
  for (const Rule& rule : rules) y_range.include(rule.y);
  if (raw_range.low <= raw_range.high) {
    y_range.include(raw_range.low);
    y_range.include(std::min(raw_range.high, 2 * y_range.high));
  }
  const Frame frame(x, x_range, y, y_range, margin_for(widest), series.size(), marks);

  std::string out = frame.axes(x, y);
  for (const Rule& rule : rules) out += frame.rule_line(rule);
  out += fmt::format(
      "<clipPath id=\"{}-clip\"><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
      "height=\"{:.1f}\"/></clipPath>\n<g clip-path=\"url(#{}-clip)\">\n",
      label.id, frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top,
      label.id);
  for (const Series& s : series)
    out += group(s.style, area(frame, s.band) + curve("raw", frame, thinned(s.raw, 240)));
  out += "</g>\n";

  std::vector<double> ends;
  for (const Series& s : series) {
    const Point end = end_of(s.line);
    ends.push_back(std::isfinite(end.y) ? frame.y(end.y) : frame.bottom);
  }
  const double below_marks = frame.marks.empty() ? 0 : kLineHeight / 2;
  const std::vector<double> names =
      spread(ends, kLineHeight, frame.top + below_marks, frame.bottom);
  for (std::size_t i = 0; i < series.size(); ++i) {
    const Series& s = series[i];
    const Point end = end_of(s.line);
    std::string content = curve("line", frame, thinned(s.line, 240)) + markers(frame, s);
    if (std::isfinite(end.y))
      content += segment("leader", frame.x(end.x) + 2, ends[i], frame.right + 8, names[i]);
    content += marker("mark", s.style, frame.right + 13, names[i]);
    content += text(frame.right + 22, names[i] + 4, "name", shown_names[i]);
    out += group(s.style, content);
  }
  for (const PlacedMark& mark : frame.marks) out += frame.mark_line(mark);
  for (const Rule& rule : rules) out += frame.rule_name(rule, frame.place_rule_name(rule, points));
  Label told = label;
  for (const Mark& mark : marks)
    told.description += fmt::format("; {} after {} {}", mark.name, x.title, mark.x);
  return image(told, frame.height, out);
}

}  // namespace minima::chart

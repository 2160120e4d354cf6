#include "train/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "train/html.hpp"

namespace minima::chart {
namespace {

using html::escaped;

constexpr double kWidth = 480, kHeight = 290;
constexpr int kStyles = 8;
constexpr std::size_t kNameWidth = 18;  // characters
// Estimates for placing text, for the larger type of narrow screens.
constexpr double kCharacter = 9, kLineHeight = 17;

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

int style_class(int style) { return style % kStyles; }

std::string path(double x, double y) { return fmt::format("{:.1f} {:.1f}", x, y); }

std::string text(double x, double y, std::string_view classes, std::string_view content) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>", x, y, classes,
                     escaped(content));
}

std::string segment(std::string_view classes, double x1, double y1, double x2, double y2) {
  return fmt::format("<path class=\"{}\" d=\"M{}L{}\"/>", classes, path(x1, y1), path(x2, y2));
}

std::string marker(std::string_view classes, int style, double x, double y,
                   const std::string& tip = {}) {
  const auto shape = kMarkers[static_cast<std::size_t>(style_class(style))];
  const std::string title = tip.empty() ? "" : fmt::format("<title>{}</title>", escaped(tip));
  return fmt::format("<path class=\"{}\" d=\"M{}{}\">{}</path>", classes, path(x, y), shape, title);
}

std::string group(int style, const std::string& content) {
  return fmt::format("<g class=\"series s{}\">{}</g>\n", style_class(style), content);
}

std::string image(const Label& label, double height, const std::string& content) {
  return fmt::format(
      "<svg class=\"chart\" viewBox=\"0 0 {0} {1:.0f}\" role=\"img\" "
      "aria-labelledby=\"{2}-title {2}-desc\">\n"
      "<title id=\"{2}-title\">{3}</title><desc id=\"{2}-desc\">{4}</desc>\n{5}</svg>\n",
      kWidth, height, label.id, escaped(label.title), escaped(label.description), content);
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

/// The largest of 1, 2, 5 times a power of ten that is at most `value`.
double round_down(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  const double mantissa = value / power;
  return power * (mantissa >= 5 ? 5 : mantissa >= 2 ? 2 : 1);
}
/// The smallest of them that is at least `value`.
double round_up(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double mantissa : {1, 2, 5})
    if (mantissa * power >= value * (1 - 1e-9)) return mantissa * power;
  return 10 * power;
}

/// 10 to the power of `exponent` as people write it: plain from 0.001 to 1,000.
std::string power_of_ten(int exponent) {
  if (std::abs(exponent) <= 3) return html::significant(std::pow(10, exponent), 1);
  constexpr std::array<std::string_view, 10> digits = {"⁰", "¹", "²", "³", "⁴",
                                                       "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = exponent < 0 ? "10⁻" : "10";
  for (const char c : std::to_string(std::abs(exponent)))
    out += digits[static_cast<std::size_t>(c - '0')];
  return out;
}

struct Tick {
  double value;
  std::string text;
};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  double positive = low;  // the lowest above 0
  bool zero = false;      // 0 occurs: it needs a place on a log scale

  void include(double value) {
    if (!std::isfinite(value)) return;
    zero = zero || value == 0;
    if (value > 0) positive = std::min(positive, value);
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// From values to units of the drawing, with round ticks.
class Mapping {
 public:
  Mapping(const Axis& axis, const Range& range, double from, double to) : from_(from), to_(to) {
    log_ = axis.scale == Scale::log && range.high > 0;
    if (log_)
      set_log(range);
    else
      set_linear(axis, range);
  }

  double operator()(double value) const {
    if (log_ && value <= 0) return from_;
    const double share = (log_ ? std::log10(value) - low_ : value - low_) / (high_ - low_);
    return origin_ + share * (to_ - origin_);
  }

  std::size_t widest_tick() const {
    std::size_t widest = 0;
    for (const Tick& tick : ticks) widest = std::max(widest, characters(tick.text));
    return widest;
  }

  std::vector<Tick> ticks;

 private:
  void set_linear(const Axis& axis, const Range& range) {
    const bool any = range.low <= range.high;
    double low = any ? range.low : 0, high = any ? range.high : 1;
    if (high - low < 1e-9 * std::max(1.0, std::abs(high))) {
      const double margin = axis.ticks == Ticks::whole ? 0.5 : std::max(0.1 * std::abs(high), 1e-3);
      low -= margin, high += margin;
    }
    double step = round_up((high - low) / 5);
    if (axis.ticks == Ticks::whole) step = std::max(1.0, step);
    // Curves over steps use the whole width; only a value axis ends at ticks.
    const bool whole = axis.ticks == Ticks::whole;
    const double first = whole ? std::ceil(low / step) : std::floor(low / step + 1e-9);
    const double last = whole ? std::floor(high / step) : std::ceil(high / step - 1e-9);
    low_ = whole ? low : first * step;
    high_ = whole ? high : last * step;
    origin_ = from_;
    const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
    for (double i = first; i <= last; ++i)
      ticks.push_back({i * step, html::fixed(i * step, decimals)});
  }

  void set_log(const Range& range) {
    low_ = std::log10(round_down(range.positive));
    high_ = std::log10(round_up(range.high));
    if (high_ - low_ < 0.3) low_ -= 0.3, high_ += 0.3;
    origin_ = range.zero ? from_ + 0.12 * (to_ - from_) : from_;
    if (range.zero) ticks.push_back({0, "0"});
    const bool fine = high_ - low_ <= 2;
    const int stride = std::max(1, static_cast<int>((high_ - low_) / 5));
    for (int e = static_cast<int>(std::floor(low_)); e <= std::ceil(high_); ++e) {
      for (const int mantissa : {1, 2, 5}) {
        const double value = mantissa * std::pow(10, e);
        const bool shown = mantissa == 1 ? e % stride == 0 : fine;
        if (shown && std::log10(value) >= low_ - 1e-9 && std::log10(value) <= high_ + 1e-9)
          ticks.push_back({value, mantissa == 1 ? power_of_ten(e) : html::significant(value, 1)});
      }
    }
  }

  double from_, to_, origin_ = 0, low_ = 0, high_ = 1;
  bool log_ = false;
};

struct Box {
  double left, top, right, bottom;
  bool holds(double x, double y) const {
    return left <= x && x <= right && top <= y && y <= bottom;
  }
  bool meets(const Box& o) const {
    return left < o.right && o.left < right && top < o.bottom && o.top < bottom;
  }
};

/// The plot's rectangle with its axes.
struct Frame {
  double top, bottom;
  Mapping y;
  double left, right;
  Mapping x;

  Frame(const Axis& x_axis, const Range& x_range, const Axis& y_axis, const Range& y_range,
        double margin_right)
      : top(26),
        bottom(kHeight - 42),
        y(y_axis, y_range, bottom, top),
        left(10 + kCharacter * static_cast<double>(y.widest_tick())),
        right(kWidth - margin_right),
        x(x_axis, x_range, left, right) {}

  std::string axes(const Axis& x_axis, const Axis& y_axis) const {
    std::string out;
    for (const Tick& tick : y.ticks) {
      out += segment("grid", left, y(tick.value), right, y(tick.value));
      out += text(left - 6, y(tick.value) + 4, "end", tick.text);
    }
    out += segment("axis", left, bottom, right, bottom);
    double free = 0;  // left of here, tick labels have been written
    for (const Tick& tick : x.ticks) {
      const double at = x(tick.value);
      out += segment("axis", at, bottom, at, bottom + 4);
      const double half = static_cast<double>(characters(tick.text)) * kCharacter / 2;
      if (at - half < free || at + half > kWidth) continue;
      out += text(at, bottom + 18, "middle", tick.text);
      free = at + half + 4;
    }
    out += text((left + right) / 2, bottom + 36, "middle title", x_axis.title);
    out += text(4, 13, "title", y_axis.title);
    return "<g>" + out + "</g>\n";
  }

  /// A name for the rule at one of its ends, over or under it: where the fewest of `points` are.
  Box place_rule_name(const Rule& rule, const std::vector<Point>& points) const {
    const double width = kCharacter * static_cast<double>(characters(rule.name));
    const double at = y(rule.y);
    Box best{};
    std::ptrdiff_t fewest = std::numeric_limits<std::ptrdiff_t>::max();
    for (const double start : {right - width, left + 4})
      for (const double base : {at + kLineHeight, at - 2}) {
        const Box box{start, base - kLineHeight, start + width, base};
        if (box.top < 0 || box.bottom > bottom) continue;
        const auto covered = std::ranges::count_if(
            points, [&](const Point& p) { return box.holds(x(p.x), y(p.y)); });
        if (covered < fewest) best = box, fewest = covered;
      }
    return best;
  }

  std::string rule_line(const Rule& rule) const {
    return segment("rule", left, y(rule.y), right, y(rule.y)) + "\n";
  }

  std::string rule_name(const Rule& rule, const Box& place) const {
    const bool at_end = place.left > left + 4;
    return text(at_end ? right - 4 : place.left, place.bottom - 4, at_end ? "halo end" : "halo",
                rule.name) +
           "\n";
  }
};

double margin_for_names(std::size_t longest) {
  return 26 + kCharacter * static_cast<double>(std::min(longest, kNameWidth));
}

/// The lowest and the highest point of each of `buckets` equal parts, in order: a curve drawn
/// through them covers the same pixels.
std::vector<Point> thinned(const std::vector<Point>& points, std::size_t buckets) {
  if (points.size() <= 2 * buckets) return points;
  std::vector<Point> out{points.front()};
  for (std::size_t b = 0; b < buckets; ++b) {
    const auto first = points.begin() + static_cast<std::ptrdiff_t>(points.size() * b / buckets);
    const auto last =
        points.begin() + static_cast<std::ptrdiff_t>(points.size() * (b + 1) / buckets);
    auto low = last, high = last;
    for (auto p = first; p != last; ++p) {
      if (!std::isfinite(p->y)) continue;
      if (low == last || p->y < low->y) low = p;
      if (high == last || p->y > high->y) high = p;
    }
    if (low == last) {
      out.push_back(*first);  // nothing finite: a gap
      continue;
    }
    out.push_back(*std::min(low, high));
    if (high != low) out.push_back(*std::max(low, high));
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
    d += command + path(frame.x(p.x), frame.y(p.y));
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

std::string lines(const Label& label, const Axis& x, const Axis& y,
                  const std::vector<Series>& series, const std::vector<Rule>& rules) {
  Range x_range, y_range, raw_range;
  std::vector<Point> points;
  std::size_t longest = 0;
  for (const Series& s : series) {
    longest = std::max(longest, characters(s.name));
    for (const Point& p : s.line) x_range.include(p.x), y_range.include(p.y);
    points.insert(points.end(), s.line.begin(), s.line.end());
    for (const Interval& i : s.band) y_range.include(i.low), y_range.include(i.high);
    for (const Point& p : s.raw) raw_range.include(p.y);
  }
  for (const Rule& rule : rules) y_range.include(rule.y);
  if (raw_range.low <= raw_range.high) {
    y_range.include(raw_range.low);
    y_range.include(std::min(raw_range.high, 2 * y_range.high));
  }
  const Frame frame(x, x_range, y, y_range, margin_for_names(longest));

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
  const std::vector<double> names = spread(ends, kLineHeight, frame.top, frame.bottom);
  for (std::size_t i = 0; i < series.size(); ++i) {
    const Series& s = series[i];
    const Point end = end_of(s.line);
    std::string content = curve("line", frame, thinned(s.line, 240)) + markers(frame, s);
    if (std::isfinite(end.y))
      content += segment("leader", frame.x(end.x) + 2, ends[i], frame.right + 8, names[i]);
    content += marker("mark", s.style, frame.right + 13, names[i]);
    content += text(frame.right + 22, names[i] + 4, "name", html::shortened(s.name, kNameWidth));
    out += group(s.style, content);
  }
  for (const Rule& rule : rules) out += frame.rule_name(rule, frame.place_rule_name(rule, points));
  return image(label, kHeight, out);
}

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
  for (const Cloud& c : clouds) {
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
    const std::string name = html::shortened(c.name, kNameWidth);
    const double width = kCharacter * static_cast<double>(characters(name));
    const Box place = place_name(frame, at_x, at_y, width, taken);
    const bool before = place.right <= at_x;
    content += text(before ? place.right : place.left, (place.top + place.bottom) / 2 + 4,
                    before ? "name end" : "name", name);
    out += group(c.style, content);
  }
  return image(label, kHeight, out + rule_names);
}

std::string bars(const Label& label, const std::vector<Bar>& bars) {
  constexpr double kRow = 24, kTop = 4;
  Range range;
  std::size_t longest_name = 0, longest_text = 0;
  range.include(0);
  for (const Bar& bar : bars) {
    range.include(bar.value + bar.deviation);
    longest_name = std::max(longest_name, characters(bar.name));
    longest_text = std::max(longest_text, characters(bar.text));
  }
  const double left = margin_for_names(longest_name);
  const double right = kWidth - 12 - kCharacter * static_cast<double>(longest_text);
  const double unit = range.high > 0 ? (right - left) / range.high : 0;
  std::string out;
  double middle = kTop + kRow / 2;
  for (const Bar& bar : bars) {
    std::string content =
        marker("mark", bar.style, 6, middle) +
        text(left - 8, middle + 4, "name end", html::shortened(bar.name, kNameWidth));
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

std::string heat_map(const Label& label, const Axis& x, const std::string& measure,
                     const std::vector<double>& positions, const std::vector<HeatRow>& rows,
                     double low, double high) {
  constexpr int kLevels = 12;  // .h0 to .h11 of the style sheet
  constexpr double kColumns = 90, kGap = 3;
  const double row_height = rows.size() > 60 ? 6 : 9;
  if (positions.empty() || rows.empty()) return {};

  // Columns of equal width, about as many as there are positions.
  std::vector<double> gaps;
  for (std::size_t i = 1; i < positions.size(); ++i)
    gaps.push_back(positions[i] - positions[i - 1]);
  std::ranges::sort(gaps);
  const double gap = gaps.empty() ? 1 : std::max(gaps[gaps.size() / 2], 1e-9);
  const double first = positions.front() - gap / 2, span = positions.back() + gap / 2 - first;
  const double columns = std::clamp(std::round(span / gap), 1.0, kColumns);

  const double from = std::floor(std::log10(low)),
               to = std::max(from + 1, std::ceil(std::log10(high)));
  const auto level = [&](double value) {
    const double share = (std::log10(value) - from) / (to - from);
    return std::clamp(static_cast<int>(share * kLevels), 0, kLevels - 1);
  };

  std::size_t longest = 0;
  for (const HeatRow& row : rows) longest = std::max(longest, characters(row.group));
  const double left = 12 + kCharacter * static_cast<double>(std::min(longest, kNameWidth));
  const double right = kWidth - 14, cell = (right - left) / columns;

  std::string out;
  double y = 6;
  for (std::size_t begin = 0; begin < rows.size();) {
    std::size_t end = begin;
    while (end < rows.size() && rows[end].group == rows[begin].group) ++end;
    const double height = row_height * static_cast<double>(end - begin);
    out +=
        text(left - 8, y + height / 2 + 4, "end", html::shortened(rows[begin].group, kNameWidth));
    for (std::size_t r = begin; r < end; ++r) {
      std::vector<double> largest(static_cast<std::size_t>(columns), 0);
      for (std::size_t i = 0; i < std::min(positions.size(), rows[r].values.size()); ++i) {
        const double place = std::floor((positions[i] - first) / span * columns);
        double& value = largest[static_cast<std::size_t>(std::clamp(place, 0.0, columns - 1))];
        if (std::isfinite(rows[r].values[i])) value = std::max(value, rows[r].values[i]);
      }
      std::array<std::string, kLevels> paths;  // in units of a cell
      for (std::size_t c = 0; c < largest.size();) {
        std::size_t run = c + 1;
        if (largest[c] > 0) {
          const int colour = level(largest[c]);
          while (run < largest.size() && largest[run] > 0 && level(largest[run]) == colour) ++run;
          paths[static_cast<std::size_t>(colour)] += fmt::format("M{} 0h{}", c, run - c);
        }
        c = run;
      }
      out += fmt::format(
          "<g transform=\"translate({:.1f} {:.1f}) scale({:.3f} 1)\" stroke-width=\"{:.0f}\">"
          "<title>{}</title>",
          left, y + row_height * (static_cast<double>(r - begin) + 0.5), cell, row_height,
          escaped(rows[r].name));
      for (int k = 0; k < kLevels; ++k)
        if (const std::string& d = paths[static_cast<std::size_t>(k)]; !d.empty())
          out += fmt::format("<path class=\"heat h{}\" d=\"{}\"/>", k, d);
      out += "</g>\n";
    }
    y += std::max(height, kLineHeight) + kGap;
    begin = end;
  }

  Range range;
  range.include(first);
  range.include(first + span);
  const Mapping map(x, range, left, right);
  out += segment("axis", left, y, right, y);
  double free = 0;
  for (const Tick& tick : map.ticks) {
    const double at = map(tick.value);
    const double half = static_cast<double>(characters(tick.text)) * kCharacter / 2;
    out += segment("axis", at, y, at, y + 4);
    if (at - half < free || at + half > kWidth) continue;
    out += text(at, y + 18, "middle", tick.text);
    free = at + half + 4;
  }
  out += text((left + right) / 2, y + 36, "middle title", x.title);

  const double legend = y + 50, step = (right - left) / kLevels;
  for (int k = 0; k < kLevels; ++k)
    out += fmt::format("<path class=\"heat h{}\" stroke-width=\"10\" d=\"M{}h{:.2f}\"/>", k,
                       path(left + k * step, legend), step);
  free = 0;
  for (double e = from; e <= to; ++e) {
    const double at = left + (right - left) * (e - from) / (to - from);
    const std::string name = power_of_ten(static_cast<int>(e));
    const double half = static_cast<double>(characters(name)) * kCharacter / 2;
    out += segment("axis", at, legend + 5, at, legend + 9);
    if (at - half < free || at + half > kWidth) continue;
    out += text(at, legend + 23, "middle", name);
    free = at + half + 4;
  }
  out += text((left + right) / 2, legend + 41, "middle title", measure);
  return image(label, legend + 48, out);
}

std::string swatch(int style) {
  return fmt::format("<svg class=\"swatch\" viewBox=\"0 0 34 12\" aria-hidden=\"true\">{}</svg>",
                     group(style, segment("line", 0, 6, 34, 6) + marker("mark", style, 17, 6)));
}

}  // namespace minima::chart

/// From values to places: ranges, round ticks, and the frame of a plot.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "train/chart/drawing.hpp"

namespace minima::chart {

struct Tick {
  double value;
  std::string text;
};

struct Range {
  static constexpr double kMost = 1e300;
  static constexpr double kLeast = 1e-300;  // what is nearer to 0 is 0 on a log scale
  double low = std::numeric_limits<double>::infinity(), high = -low;
  double positive = low;  // the lowest above 0
  bool zero = false;      // 0 occurs: it needs a place on a log scale

  void include(double value) {
    if (!(std::abs(value) < kMost)) return;  // nor NaN: differences must be finite
    zero = zero || std::abs(value) < kLeast;
    if (value >= kLeast) positive = std::min(positive, value);
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// Whether the numbers of a log scale are written plain, by the logarithms of its ends: all from 0.0002 to 5,000. Else all
/// are powers of ten.
bool written_plain(double low, double high);
/// mantissa · 10^exponent as people write it: 0.02, or 2·10⁻².
std::string round_number(int mantissa, int exponent, bool plain);

/// From values to units of the drawing, with round ticks.
class Mapping {
 public:
  Mapping(const Axis& axis, const Range& range, double from, double to);

  double operator()(double value) const;
  double widest_tick() const;

  std::vector<Tick> ticks;

 private:
  void set_linear(const Axis& axis, const Range& range);
  void set_log(const Range& range);

  double from_, to_, origin_ = 0, low_ = 0, high_ = 1;
  bool log_ = false;
};

/// An axis with its ticks below a plot, as far as their labels have room, and its title.
std::string axis_below(const Mapping& map, const std::string& title, double left, double right,
                       double y);

struct Box {
  double left, top, right, bottom;
  bool holds(double x, double y) const {
    return left <= x && x <= right && top <= y && y <= bottom;
  }
  bool meets(const Box& o) const {
    return left < o.right && o.left < right && top < o.bottom && o.top < bottom;
  }
};

/// A mark within the plot; its name stands above it, at the right of its line, in this row from the top.
struct PlacedMark {
  const Mark* mark;
  double x;
  std::size_t row;
};

/// The plot's rectangle with its axes. The chart has room for `names` beside it, and above it for rows of the names of marks.
struct Frame {
  double left, right;
  Mapping x;
  std::vector<PlacedMark> marks;  ///< those within the plot
  double top, height, bottom;     ///< of them the height is the chart's
  Mapping y;

  Frame(const Axis& x_axis, const Range& x_range, const Axis& y_axis, const Range& y_range,
        double margin_right, std::size_t names, const std::vector<Mark>& marks = {});

  std::string axes(const Axis& x_axis, const Axis& y_axis) const;

  std::string rule_line(const Rule& rule) const;
  /// For the rule's name at one of its ends, over or under it: where the fewest of `points` are.
  Box place_rule_name(const Rule& rule, const std::vector<Point>& points) const;
  std::string rule_name(const Rule& rule, const Box& place) const;
  std::string mark_line(const PlacedMark& placed) const;
};

}  // namespace minima::chart

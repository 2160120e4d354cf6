#include "train/chart/axes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "train/html.hpp"

namespace minima::chart {
namespace {

constexpr double kLong = 1e12;   // a tick's number from here on is written with an exponent
constexpr double kSmall = 1e-6;  // and all of an axis up to here
constexpr double kFar = 1e6;     // plots beside it, beyond which a place is as good as another
constexpr double kTop = 26;      // of the plot: the axis' title stands above
constexpr double kBelow = 42;    // the plot stand its ticks and the axis' title

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

/// Those within the plot. A name that reaches as far as a later mark stands a row higher: no line runs through a name.
std::vector<PlacedMark> placed(const std::vector<Mark>& marks, const Mapping& x, double left,
                               double right) {
  std::vector<PlacedMark> out;
  for (const Mark& mark : marks)
    if (const double at = x(mark.x); left <= at && at <= right)  // NaN neither
      out.push_back({&mark, at, 0});
  std::ranges::stable_sort(out, {}, &PlacedMark::x);
  std::vector<double> ends;  // of the last name in each row
  for (PlacedMark& next : out) {
    next.row = ends.size();
    while (next.row > 0 && ends[next.row - 1] <= next.x) --next.row;
    ends.resize(next.row);
    ends.push_back(next.x + width_of(next.mark->name) + 8);
  }
  return out;
}

/// How many rows their names have above the plot.
double rows_of(const std::vector<PlacedMark>& marks) {
  constexpr std::size_t kMost = 5;
  std::size_t rows = 0;
  for (const PlacedMark& mark : marks) rows = std::max(rows, mark.row + 1);
  return static_cast<double>(std::min(rows, kMost));
}

}  // namespace

bool written_plain(double low, double high) { return low > -4 && high < 4; }

std::string round_number(int mantissa, int exponent, bool plain) {
  if (plain || exponent == 0 || exponent == 1)
    return html::significant(mantissa * std::pow(10, exponent), 1);
  constexpr std::array<std::string_view, 10> digits = {"⁰", "¹", "²", "³", "⁴",
                                                       "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = mantissa == 1 ? "10" : fmt::format("{}·10", mantissa);
  if (exponent < 0) out += "⁻";
  for (const char c : std::to_string(std::abs(exponent)))
    out += digits[static_cast<std::size_t>(c - '0')];
  return out;
}

Mapping::Mapping(const Axis& axis, const Range& range, double from, double to)
    : from_(from), to_(to) {
  log_ = axis.scale == Scale::log && range.positive <= range.high;
  if (log_)
    set_log(range);
  else
    set_linear(axis, range);
}

double Mapping::operator()(double value) const {
  if (log_ && value < Range::kLeast) return from_;
  const double share = (log_ ? std::log10(value) - low_ : value - low_) / (high_ - low_);
  return origin_ + std::clamp(share, -kFar, kFar) * (to_ - origin_);
}

double Mapping::widest_tick() const {
  double widest = 0;
  for (const Tick& tick : ticks) widest = std::max(widest, width_of(tick.text));
  return widest;
}

void Mapping::set_linear(const Axis& axis, const Range& range) {
  const bool any = range.low <= range.high;
  double low = any ? range.low : 0, high = any ? range.high : 1;
  // Curves over steps use the whole width; only a value axis ends at ticks.
  const bool whole = axis.ticks == Ticks::whole;
  const double size = std::max(std::abs(low), std::abs(high));
  if (!(high - low > 1e-9 * size)) {
    const double margin = std::max(0.5, 1e-9 * size);
    if (whole)
      low -= margin, high += margin;
    else if (size < Range::kLeast)
      low = 0, high = 1;
    else  // from 0 on: no share ends above 100 %, nor below nothing
      low = std::min(low, 0.0), high = std::max(high, 0.0);
  }
  double step = round_up((high - low) / 5);
  if (whole) step = std::max(1.0, step);
  const double first = whole ? std::ceil(low / step) : std::floor(low / step + 1e-9);
  const double last = whole ? std::floor(high / step) : std::ceil(high / step - 1e-9);
  low_ = whole ? low : first * step;
  high_ = whole ? high : last * step;
  origin_ = from_;
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  const bool plain = step < kLong && std::max(std::abs(low_), std::abs(high_)) > kSmall;
  for (double i = first; i <= last; ++i)
    ticks.push_back(
        {i * step, plain ? html::fixed(i * step, decimals) : html::significant(i * step)});
}

void Mapping::set_log(const Range& range) {
  low_ = std::log10(round_down(range.positive));
  high_ = std::log10(round_up(range.high));
  if (high_ - low_ < 0.3) low_ -= 0.3, high_ += 0.3;
  origin_ = range.zero ? from_ + 0.12 * (to_ - from_) : from_;
  if (range.zero) ticks.push_back({0, "0"});
  const bool fine = high_ - low_ <= 2, plain = written_plain(low_ - 1e-9, high_ + 1e-9);
  const int stride = std::max(1, static_cast<int>((high_ - low_) / 5));
  for (int e = static_cast<int>(std::floor(low_)); e <= std::ceil(high_); ++e) {
    for (const int mantissa : {1, 2, 5}) {
      const double value = mantissa * std::pow(10, e);
      const bool shown = mantissa == 1 ? e % stride == 0 : fine;
      if (shown && std::log10(value) >= low_ - 1e-9 && std::log10(value) <= high_ + 1e-9)
        ticks.push_back({value, round_number(mantissa, e, plain)});
    }
  }
}

std::string axis_below(const Mapping& map, const std::string& title, double left, double right,
                       double y) {
  std::string out = segment("axis", left, y, right, y);
  double free = 0;  // left of here, tick labels have been written
  for (const Tick& tick : map.ticks) {
    const double at = map(tick.value), half = width_of(tick.text) / 2;
    out += segment("axis", at, y, at, y + 4);
    if (at - half < free || at + half > kWidth) continue;
    out += text(at, y + 18, "middle", tick.text);
    free = at + half + 4;
  }
  return out + text((left + right) / 2, y + 36, "middle title", title);
}

Frame::Frame(const Axis& x_axis, const Range& x_range, const Axis& y_axis, const Range& y_range,
             double margin_right, std::size_t names, const std::vector<Mark>& marks)
    : left(10 + Mapping(y_axis, y_range, 0, 1).widest_tick()),
      right(kWidth - margin_right),
      x(x_axis, x_range, left, right),
      marks(placed(marks, x, left, right)),
      top(kTop + kLineHeight * rows_of(this->marks)),
      height(std::max(kHeight, top + kLineHeight * static_cast<double>(names) + kBelow)),
      bottom(height - kBelow),
      y(y_axis, y_range, bottom, top) {}

std::string Frame::axes(const Axis& x_axis, const Axis& y_axis) const {
  std::string out;
  for (const Tick& tick : y.ticks) {
    out += segment("grid", left, y(tick.value), right, y(tick.value));
    out += text(left - 6, y(tick.value) + 4, "end", tick.text);
  }
  out += axis_below(x, x_axis.title, left, right, bottom);
  out += text(4, 13, "title", y_axis.title);
  return "<g>" + out + "</g>\n";
}

std::string Frame::rule_line(const Rule& rule) const {
  return segment("rule", left, y(rule.y), right, y(rule.y)) + "\n";
}

Box Frame::place_rule_name(const Rule& rule, const std::vector<Point>& points) const {
  const double width = width_of(rule.name);
  const double at = y(rule.y);
  Box best{};
  std::ptrdiff_t fewest = std::numeric_limits<std::ptrdiff_t>::max();
  for (const double start : {right - width, left + 4})
    for (const double base : {at + kLineHeight, at - 2}) {
      const Box box{start, base - kLineHeight, start + width, base};
      if (box.top < 0 || box.bottom > bottom) continue;
      const auto covered =
          std::ranges::count_if(points, [&](const Point& p) { return box.holds(x(p.x), y(p.y)); });
      if (covered < fewest) best = box, fewest = covered;
    }
  return best;
}

std::string Frame::rule_name(const Rule& rule, const Box& place) const {
  const bool at_end = place.left > left + 4;
  return text(at_end ? right - 4 : place.left, place.bottom - 4, at_end ? "halo end" : "halo",
              rule.name) +
         "\n";
}

std::string Frame::mark_line(const PlacedMark& placed) const {
  const double row = kTop + kLineHeight * static_cast<double>(placed.row);
  std::string drawn = segment("event", placed.x, std::min(row, top), placed.x, bottom);
  if (row < top) {  // else there is no room for the name
    const double start = std::min(placed.x + 4, kWidth - width_of(placed.mark->name));
    drawn += text(start, row + kLineHeight - 4, "name", placed.mark->name);
  }
  return group(placed.mark->style, drawn);
}
}  // namespace minima::chart

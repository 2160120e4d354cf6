/// Charts as inline SVG.
///
/// A chart is 480 units wide and scales with its column. Its colours, dashes and type come from the
/// page's style sheet (train/report_style.hpp): a series of style k has the classes `series s{k}`,
/// so that one sheet serves light, dark and print. Series differ by colour, dash and marker, and
/// are named at their own ends. For a screen reader a chart is one image with a title and a
/// description in words; for a pointer its markers have tooltips.
///
///     chart::lines({"loss", "Training loss", "AdamW ends at 0.31 nats"}, {.title = "step"},
///                  {.title = "nats"}, {{.name = "adamw", .style = 0, .line = points}});
///
/// Curves of any length are thinned to what 480 units can show; a number that is not finite leaves
/// a gap. All text is escaped here.
#pragma once

#include <string>
#include <vector>

namespace minima::chart {

/// What a chart says to those who do not see it. `id` is unique in the page: [a-z0-9-]+.
struct Label {
  std::string id, title, description;
};

enum class Scale {
  linear,
  log,  ///< by tenfolds; values of 0 stand apart at the low end, where there are any
};

enum class Ticks { any, whole };

struct Axis {
  std::string title;
  Scale scale = Scale::linear;
  Ticks ticks = Ticks::any;
};

struct Point {
  double x, y;
  std::string tip = {};
};

struct Interval {
  double x, low, high;
};

/// A curve. `raw` is drawn thin behind it, and cut off at twice its height.
struct Series {
  std::string name;
  int style = 0;
  std::vector<Point> line;
  std::vector<Point> raw = {};
  std::vector<Interval> band = {};
};

/// A horizontal line for comparison; `y` is finite.
struct Rule {
  std::string name;
  double y;
};

/// An upright line where something happened, of style `style`; its name stands at the top.
struct Mark {
  std::string name;
  int style = 0;
  double x;
};

/// One thing measured several times: `points`, and their mean with deviations.
struct Cloud {
  std::string name;
  int style = 0;
  std::vector<Point> points;
  Point mean;
  double deviation_x = 0, deviation_y = 0;
};

/// `text` is what is written at the bar's end.
struct Bar {
  std::string name;
  int style = 0;
  double value, deviation = 0;
  std::string text;
};

/// A row of a heat map: one value for each x. Rows of one group stand together.
struct HeatRow {
  std::string group, name;
  std::vector<double> values;
};

/// Curves over x, named at their right ends.
std::string lines(const Label& label, const Axis& x, const Axis& y,
                  const std::vector<Series>& series, const std::vector<Rule>& rules = {},
                  const std::vector<Mark>& marks = {});

/// Points in the plane, each cloud named beside its mean.
std::string scatter(const Label& label, const Axis& x, const Axis& y,
                    const std::vector<Cloud>& clouds, const std::vector<Rule>& rules = {});

/// Horizontal bars from 0.
std::string bars(const Label& label, const std::vector<Bar>& bars);

/// Rows over x (ascending), coloured by value on a log scale from `low` to `high`, which are above
/// 0, with a legend that `measure` names. Where there are more x than columns, or several in one, a
/// cell has the largest; what is not finite or not above 0 stays blank. A row's name is its tooltip.
std::string heat_map(const Label& label, const Axis& x, const std::string& measure,
                     const std::vector<double>& positions, const std::vector<HeatRow>& rows,
                     double low, double high);

/// The key of a style: a piece of its line with its marker.
std::string swatch(int style);

}  // namespace minima::chart

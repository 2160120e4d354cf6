#include <fmt/format.h>

#include "train/report/parts.hpp"

namespace minima::report {

std::string step_chart(const Comparison& comparison, const StepChart& shown) {
  std::size_t steps = 0;
  for (const Entry& entry : comparison.entries)
    for (const Json* run : entry.runs) steps = std::max(steps, at(*run, shown.key).size());
  if (steps == 0) return {};  // all failed in their first one
  const std::size_t reach = (steps + 20) / 40;
  std::vector<chart::Series> series;
  std::vector<double> all;
  for (const Entry& entry : comparison.entries) {
    std::vector<std::vector<double>> raw, smooth;
    for (const Json* run : entry.runs) {
      raw.push_back(numbers(at(*run, shown.key)));
      if (shown.share)
        for (double& value : raw.back()) value *= 100;
      smooth.push_back(smoothed(raw.back(), reach));
    }
    Curve curve = over_seeds(smooth);
    for (const chart::Point& p : curve.line) all.push_back(p.y);
    series.push_back({entry.name, entry.style, std::move(curve.line)});
    if (shown.share) continue;
    if (reach > 0) series.back().raw = over_seeds(raw).line;
    series.back().band = std::move(curve.band);
  }
  chart::Axis y = shown.y;
  chart::Label label = shown.label;
  label.description += ends(series, 3);
  std::string caption = shown.caption;
  if (reach > 0)
    caption += fmt::format(" Mean over {} steps{}", 2 * reach + 1,
                           shown.share ? "." : ", the raw values thin behind it.");
  if (!shown.share) {
    y.scale = scale_for(all, shown.span);
    caption += bands_caption(comparison);
  } else if (comparison.seeds > 1) {
    caption += " Mean over seeds.";
  }
  const std::vector<chart::Mark> marks = change_marks(comparison);
  return figure(shown.heading,
                chart::lines(label, {"step", chart::Scale::linear, chart::Ticks::whole}, y, series,
                             shown.rules, marks),
                caption + marks_caption(marks));
}

}  // namespace minima::report

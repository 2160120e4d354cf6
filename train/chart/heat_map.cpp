#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "train/chart/axes.hpp"
#include "train/html.hpp"

namespace minima::chart {

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
  const auto [earliest, latest] = std::ranges::minmax(positions);
  const double first = earliest - gap / 2, span = latest + gap / 2 - first;
  const double columns = std::clamp(std::round(span / gap), 1.0, kColumns);

  const double from = std::floor(std::log10(low)),
               to = std::max(from + 1, std::ceil(std::log10(high)));
  const auto level = [&](double value) {
    const double share = (std::log10(value) - from) / (to - from);
    return std::clamp(static_cast<int>(share * kLevels), 0, kLevels - 1);
  };

  double widest = 0;
  for (const HeatRow& row : rows) widest = std::max(widest, width_of(shown(row.group)));
  const double left = 12 + widest;
  const double right = kWidth - 20;  // the legend ends with half a power of ten beside it
  const double cell = (right - left) / columns;

  std::string out;
  double y = 6;
  for (std::size_t begin = 0; begin < rows.size();) {
    std::size_t end = begin;
    while (end < rows.size() && rows[end].group == rows[begin].group) ++end;
    const double height = row_height * static_cast<double>(end - begin);
    out += text(left - 8, y + height / 2 + 4, "end", shown(rows[begin].group));
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
          html::escaped(rows[r].name));
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
  out += axis_below(Mapping(x, range, left, right), x.title, left, right, y);

  const double legend = y + 50, step = (right - left) / kLevels;
  for (int k = 0; k < kLevels; ++k)
    out += fmt::format("<path class=\"heat h{}\" stroke-width=\"10\" d=\"M{}h{:.2f}\"/>", k,
                       place(left + k * step, legend), step);
  double free = 0;
  for (double e = from; e <= to; ++e) {
    const double at = left + (right - left) * (e - from) / (to - from);
    const std::string name = round_number(1, static_cast<int>(e), written_plain(from, to));
    const double half = width_of(name) / 2;
    out += segment("axis", at, legend + 5, at, legend + 9);
    if (at - half < free || at + half > kWidth) continue;
    out += text(at, legend + 23, "middle", name);
    free = at + half + 4;
  }
  out += text((left + right) / 2, legend + 41, "middle title", measure);
  return image(label, legend + 48, out);
}

}  // namespace minima::chart

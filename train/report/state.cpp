#include <fmt/format.h>

#include <cmath>
#include <map>

#include "train/report/parts.hpp"

namespace minima::report {
namespace {

/// Values of a run's state by part of the model (a row) and slot (a column), both in the order of the model.
struct Grid {
  std::vector<std::string> parts, slots;
  std::map<std::pair<std::string, std::string>, std::vector<double>> cells;

  void add(const std::string& part, const std::string& slot, double value) {
    for (const auto& [list, name] : {std::pair{&parts, &part}, {&slots, &slot}})
      if (std::ranges::find(*list, *name) == list->end()) list->push_back(*name);
    cells[{part, slot}].push_back(value);
  }
};

Grid read_grid(const Json& run, const char* key) {
  Grid grid;
  for (const Json& slot : at(run, "/state")) {
    const double value = number(slot, key);
    if (std::isfinite(value)) grid.add(part_of(text(slot, "/tensor")), text(slot, "/slot"), value);
  }
  return grid;
}

/// A table of `value(cell)`, written by `written` and shaded by its share of the greatest.
template <class Value, class Written>
std::string shaded(const Grid& grid, const std::string& caption, const Value& value,
                   const Written& written) {
  double greatest = 0;
  for (const auto& [place, cell] : grid.cells) greatest = std::max(greatest, value(cell));
  std::vector<std::string> heads{"part"};
  std::ranges::transform(grid.slots, std::back_inserter(heads), escaped);
  std::string out;
  for (const std::string& part : grid.parts) {
    out += fmt::format("<tr><th scope=\"row\">{}</th>", escaped(part));
    for (const std::string& slot : grid.slots) {
      const auto cell = grid.cells.find({part, slot});
      if (cell == grid.cells.end())
        out += fmt::format("<td>{}</td>", kMissing);
      else
        out += fmt::format("<td class=\"cell\" style=\"--share:{:.3g}\">{}</td>",
                           greatest > 0 ? value(cell->second) / greatest : 0,
                           written(value(cell->second)));
    }
    out += "</tr>\n";
  }
  return table("matrix", escaped(caption), heads, out);
}

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

std::string sized(double bytes) {
  if (bytes < 1024) return fixed(bytes, 0) + "\u00a0B";
  if (bytes < kMegabyte) return fixed(bytes / 1024, bytes < 10240 ? 1 : 0) + "\u00a0KB";
  return megabytes(bytes);
}

/// Whose state it is: that of the optimizer at the end.
std::string owner(const Entry& entry) {
  const std::string last = text(*entry.runs.front(), "/final_optimizer");
  return last.empty() || before_change(entry).empty()
             ? entry.name
             : fmt::format("{}, at the end of {}", last, entry.name);
}

std::string memory_tables(const Comparison& comparison) {
  std::string out;
  for (const Entry& entry : comparison.entries) {
    const Grid grid = read_grid(*entry.runs.front(), "/bytes");
    if (grid.cells.empty()) continue;
    double all = 0;
    for (const auto& [place, cell] : grid.cells) all += sum(cell);
    out += scrolling("State of " + owner(entry),
                     shaded(grid, owner(entry) + ": " + sized(all), sum, sized));
  }
  return out;
}

std::string error_tables(const Comparison& comparison, const char* key) {
  std::string out;
  for (const Entry& entry : comparison.entries) {
    const Grid grid = read_grid(*entry.runs.front(), key);
    if (grid.cells.empty()) continue;
    std::vector<double> all;
    for (const auto& [place, cell] : grid.cells) all.insert(all.end(), cell.begin(), cell.end());
    const auto in_percent = [](double share) { return significant(100 * share, 3) + "\u00a0%"; };
    out += scrolling("Errors of " + owner(entry),
                     shaded(
                         grid, fmt::format("{}: median {}", owner(entry), in_percent(median(all))),
                         [](const std::vector<double>& cell) { return median(cell); }, in_percent));
  }
  return out;
}

}  // namespace

std::string state_section(const Comparison& comparison) {
  std::string out;
  const auto add = [&](const std::string& tables, const char* heading, const char* note) {
    if (!tables.empty())
      out +=
          fmt::format("<h3>{}</h3>\n<div class=\"matrices\">\n{}</div>\n<p class=\"note\">{}</p>\n",
                      heading, tables, note);
  };
  add(memory_tables(comparison), "Where the state lies",
      "First seed of each optimizer, after the last step; the step counts are left out.");
  add(error_tables(comparison, "/rounding"), "What 8 bits lose",
      "The RMS of the rounding error over the RMS of the values, the median over a part’s tensors. "
      "Of state in fp32: encoded once in blocks of 256 and decoded. Of 8-bit state: expected, for "
      "a value anywhere between the borders of its code.");
  add(error_tables(comparison, "/factoring"), "What row and column means lose",
      "How far R·C/mean(R), which Adafactor would keep, is from this second moment: RMS over RMS, "
      "the median over a part’s matrices.");
  return out.empty() ? "" : section("state", "What the optimizers keep", out);
}

}  // namespace minima::report

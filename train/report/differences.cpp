#include <fmt/format.h>

#include "train/report/parts.hpp"

namespace minima::report {

std::string differences_section(const Comparison& comparison) {
  const std::vector<Entry> all = comparison.all();
  const std::vector<Difference> rows = differences(all);
  if (rows.empty()) return {};
  std::vector<std::string> heads{"Option"};
  for (const Entry& entry : all) heads.push_back(escaped(entry.name));
  std::string shown;
  for (const auto& [option, values] : rows) {
    std::vector<std::string> cells;
    std::ranges::transform(values, std::back_inserter(cells), escaped);
    shown += row(escaped(option), cells);
  }
  return section(
      "differences", "What differs",
      scrolling("What differs",
                table("numbers words", "Options that are not alike in all runs", heads, shown)));
}

}  // namespace minima::report

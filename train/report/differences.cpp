#include <fmt/format.h>

#include "train/report/parts.hpp"

namespace minima::report {

std::string differences_section(const Comparison& comparison) {
  const std::vector<Entry> all = comparison.all();
  const std::vector<Difference> rows = differences(all);
  if (rows.empty()) return {};
  std::string table =
      "<table class=\"numbers words\">\n<caption>Options that are not alike in all "
      "runs</caption>\n<thead><tr><th scope=\"col\">Option</th>";
  for (const Entry& entry : all)
    table += fmt::format("<th scope=\"col\">{}</th>", escaped(entry.name));
  table += "</tr></thead>\n<tbody>\n";
  for (const Difference& row : rows) {
    table += fmt::format("<tr><th scope=\"row\">{}</th>", escaped(row.option));
    for (const std::string& value : row.values) table += fmt::format("<td>{}</td>", escaped(value));
    table += "</tr>\n";
  }
  return section("differences", "What differs",
                 scrolling("What differs", table + "</tbody>\n</table>\n"));
}

}  // namespace minima::report

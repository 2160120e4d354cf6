#include <fmt/format.h>

#include "train/report/parts.hpp"

namespace minima::report {

std::string worst_section(const Comparison& comparison) {
  std::string out;
  for (const Entry& entry : comparison.entries) {
    const Json& list = at(*entry.runs.front(), "/worst");
    if (!list.is_array() || list.empty()) continue;
    std::string rows;
    for (const Json& one : list) {
      const std::string pair = text(one, "/pair");
      rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}{}</td></tr>\n",
                          significant(number(one, "/loss"), 3), escaped(text(one, "/actual")),
                          escaped(text(one, "/predicted")), escaped(text(one, "/text")),
                          pair.empty() ? "" : "<br>" + escaped(pair));
    }
    out += details(fmt::format("{}, {}", entry.name, counted(list.size(), "text")),
                   table("worst", "", {"Loss", "Actual", "Predicted", "Text"}, rows));
  }
  if (out.empty()) return {};
  return section(
      "worst", "What it gets most wrong",
      out +
          "<p class=\"note\">First seed of each optimizer, on test: the texts to whose actual "
          "class "
          "the model gives least probability (loss: −log of it). Often it is the label that is "
          "wrong.</p>\n");
}

}  // namespace minima::report

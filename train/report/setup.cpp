#include <fmt/format.h>

#include "train/report/parts.hpp"

namespace minima::report {
namespace {

/// A column of the table of runs.
struct Field {
  const char *heading, *path;
  double factor;
  int decimals;
};

constexpr Field kFields[] = {{"Test accuracy, %", "/test/accuracy", 100, kPercent},
                             {"Dev accuracy, %", "/dev/accuracy", 100, kPercent},
                             {"Macro-F1, %", "/test/macro_f1", 100, kPercent},
                             {"Test loss", "/test/loss", 1, kLoss},
                             {"Dev loss", "/dev/loss", 1, kLoss},
                             {"Best epoch", "/best_epoch", 1, 0},
                             {"State bytes", "/state_bytes", 1, 0},
                             {"Scales", "/scales", 1, 0},
                             {"Peak bytes", "/peak_bytes", 1, 0},
                             {"Step, ms", "/step_ms", 1, kMilliseconds},
                             {"Seconds", "/seconds", 1, 1},
                             {"Evaluation, % of them", "/time/evaluation", 100, 2},
                             {"logging", "/time/logging", 100, 2},
                             {"checkpoints", "/time/checkpoints", 100, 2},
                             {"the loop", "/time/loop", 100, 2}};

std::string every_run(const Comparison& comparison) {
  std::vector<std::string> columns{comparison.by_label ? "Run" : "Optimizer", "Seed"};
  std::vector<Field> fields;
  for (const Field& field : kFields)
    if (is_shown(comparison, field.path)) {
      fields.push_back(field);
      columns.push_back(field.heading);
    }
  std::string rows;
  const std::vector<std::string> heads = row_heads(comparison);
  for (std::size_t i = 0; i < heads.size(); ++i)
    for (const Json* run : comparison.entries[i].runs) {
      rows += fmt::format("<tr>{}<td>{}</td>", heads[i], escaped(plain(at(*run, "/seed"))));
      for (const Field& field : fields)
        rows += fmt::format("<td>{}</td>",
                            fixed(field.factor * number(*run, field.path), field.decimals));
      rows += "</tr>\n";
    }
  return table("numbers", "Every run", columns, rows);
}

}  // namespace

std::string setup_section(const Comparison& comparison) {
  const Json& json = comparison.json;
  std::string out = "<div class=\"setup\">\n";
  const auto part = [&](const char* heading, const char* path, const char* large) {
    out +=
        fmt::format("<div>\n<h3>{}</h3>\n{}</div>\n", heading, definitions(at(json, path), large));
  };
  part("Data", "/data", "");
  part("Model", "/model", "config");
  part("Training", "/training", "");
  part("Machine", "/machine", "");
  out += "</div>\n";
  if (comparison.entries.empty()) return section("setup", "What was run", out);

  out += "<h3>Optimizers</h3>\n";
  std::size_t runs = 0;
  for (const Entry& entry : comparison.entries) {
    runs += entry.runs.size();
    out += details(entry.spec + ", all options", definitions(at(*entry.runs.front(), "/options")));
  }
  out += "<h3>Runs</h3>\n" + details(counted(runs, "run") + ", one a row",
                                     scrolling("Every run", every_run(comparison)));
  return section("setup", "What was run", out);
}

}  // namespace minima::report

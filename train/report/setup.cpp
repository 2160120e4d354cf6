#include <fmt/format.h>

#include <cmath>

#include "train/report/parts.hpp"

namespace minima::report {
namespace {

std::string every_run(const Comparison& comparison) {
  std::string out =
      "<table class=\"numbers\">\n<caption>Every run</caption>\n<thead><tr>"
      "<th scope=\"col\">Optimizer</th><th scope=\"col\">Seed</th>";
  const std::pair<const char*, const char*> rows[] = {{"Test accuracy", "/test/accuracy"},
                                                      {"Dev accuracy", "/dev/accuracy"},
                                                      {"Macro-F1", "/test/macro_f1"},
                                                      {"Test loss", "/test/loss"},
                                                      {"Dev loss", "/dev/loss"},
                                                      {"Best epoch", "/best_epoch"},
                                                      {"State bytes", "/state_bytes"},
                                                      {"Scales", "/scales"},
                                                      {"Peak bytes", "/peak_bytes"},
                                                      {"Step, ms", "/step_ms"},
                                                      {"Seconds", "/seconds"},
                                                      {"Share of evaluation", "/time/evaluation"},
                                                      {"of logging", "/time/logging"},
                                                      {"of checkpoints", "/time/checkpoints"},
                                                      {"of the loop", "/time/loop"}};
  for (const auto& [heading, path] : rows) out += fmt::format("<th scope=\"col\">{}</th>", heading);
  out += "</tr></thead>\n<tbody>\n";
  const std::vector<std::string> heads = row_heads(comparison);
  for (std::size_t i = 0; i < heads.size(); ++i)
    for (const Json* run : comparison.entries[i].runs) {
      out += fmt::format("<tr>{}<td>{}</td>", heads[i], escaped(plain(at(*run, "/seed"))));
      for (const auto& [heading, path] : rows) {
        const double value = number(*run, path);
        out += fmt::format("<td>{}</td>",
                           value == std::floor(value) ? fixed(value, 0) : significant(value, 4));
      }
      out += "</tr>\n";
    }
  return out + "</tbody>\n</table>\n";
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
  for (const Entry& entry : comparison.entries)
    out += details(entry.spec + ", all options", definitions(at(*entry.runs.front(), "/options")));
  out += "<h3>Runs</h3>\n" + details(counted(at(json, "/runs").size(), "run") + ", one a row",
                                     scrolling("Every run", every_run(comparison)));
  return section("setup", "What was run", out);
}

}  // namespace minima::report

#include "train/report.hpp"

#include <fmt/format.h>

#include <set>

#include "train/report/parts.hpp"
#include "train/report_style.hpp"

namespace minima {

std::string report_page(const std::string& title, const std::string& content) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{}</style>\n"
      "</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
      html::escaped(title), kReportStyle, content);
}

std::string skipped_steps(const Json& run) {
  const double skipped = report::number(run, "/skipped"),
               first = report::number(run, "/first_skipped");
  if (!(skipped > 0)) return "";
  return fmt::format("{} of {} {} skipped (loss or gradient not finite){}", skipped,
                     report::counted(report::at(run, "/train_loss").size(), "step"),
                     skipped == 1 ? "was" : "were",
                     first > 0 ? fmt::format(", the first at step {}", first) : "");
}

std::string always_one_class(const Json& run) {
  constexpr double kDiverged = 20, kMostOfAll = 0.8;  // the loss, and a class's share of dev
  std::set<i64> predicted, actual;
  double largest = 0, all = 0;
  if (const auto matrix = report::read_matrix(report::at(run, "/dev/confusion")))
    for (const auto& [cell, count] : matrix->cells()) {
      actual.insert(cell.first), predicted.insert(cell.second);
      largest = std::max(largest, static_cast<double>(count)), all += static_cast<double>(count);
    }
  if (predicted.size() != 1 || actual.size() < 2) return "";
  return std::string("every text of dev is taken for the same class: nothing was learned; ") +
         (report::number(run, "/dev/loss") > kDiverged
              ? "the weights have become too large: a lower learning rate may help (train "
                "--find-lr)"
          : largest > kMostOfAll * all
              ? "it is that of most texts: --class-weights balanced --metric macro_f1 look at the "
                "others"
              : "another learning rate may help (train --find-lr), or longer training");
}

std::vector<std::string> what_it_lacks(const Json& comparison) {
  std::vector<std::string> all;
  for (const char* key : {"/failed", "/unfinished"})
    for (const Json& run : report::at(comparison, key)) {
      const std::string error = report::text(run, "/error");
      all.push_back(fmt::format("{} with seed {} {}", report::text(run, "/spec"),
                                report::plain(report::at(run, "/seed")),
                                error.empty() ? "has not ended" : "failed: " + error));
    }
  for (const Json& run : report::at(comparison, "/runs"))
    for (const std::string& flaw : {skipped_steps(run), always_one_class(run)})
      if (!flaw.empty())
        all.push_back(fmt::format("{} with seed {}: {}", report::run_name(run),
                                  report::plain(report::at(run, "/seed")), flaw));
  for (const Json& log : report::at(comparison, "/damaged")) {
    const double lines = report::number(log, "/lines");
    all.push_back(fmt::format("{}: {} damaged and left out", report::text(log, "/file"),
                              lines == 1 ? "one line is" : report::fixed(lines, 0) + " lines are"));
  }
  return all;
}

std::string report_html(const Json& json) {
  using namespace report;
  const Comparison comparison = read(json);
  std::string content = header(comparison);
  if (!comparison.entries.empty()) {
    const std::string classes = confusion_section(comparison) + worst_section(comparison);
    const bool alone = comparison.entries.size() == 1;  // what is asked of one is how good it is
    content += results_section(comparison) + (alone ? classes : "") + curves_section(comparison) +
               watching_section(comparison) + state_section(comparison) + (alone ? "" : classes);
  }
  return report_page("minima: " + title(comparison), content + setup_section(comparison));
}

}  // namespace minima

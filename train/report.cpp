#include "train/report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <set>

#include "train/find_lr.hpp"
#include "train/report/parts.hpp"
#include "train/report_style.hpp"
#include "train/trainer.hpp"

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

namespace {

/// With a loss on dev beyond this the weights are not trained too little but too large.
constexpr double kDiverged = 20;

std::string advice(double loss) {
  return loss > kDiverged ? "the weights have become too large: a lower learning rate may help"
                          : "another learning rate may help, or longer training";
}

/// Where --minutes ended a run: after how many steps. Beside others it has not learned for as long.
std::string time_was_up(const Json& comparison, const Json& run) {
  return report::text(run, "/stop") == stop_name(Stop::minutes)
             ? "the time was up after " + report::steps_in_words(comparison, run)
             : "";
}

}  // namespace

std::string one_class_advice(const Json& run) {
  constexpr double kMost = 0.8;  // share of dev
  std::set<i64> predicted, actual;
  double right = 0, all = 0;
  if (const auto matrix = report::read_matrix(report::at(run, "/dev/confusion")))
    for (const auto& [cell, count] : matrix->cells()) {
      actual.insert(cell.first), predicted.insert(cell.second);
      all += static_cast<double>(count);
      if (cell.first == cell.second) right += static_cast<double>(count);
    }
  if (predicted.size() != 1 || actual.size() < 2) return "";
  const double loss = report::number(run, "/dev/loss");
  const bool of_most = right > kMost * all && !(loss > kDiverged);
  return of_most ? "most texts are of that class: --class-weights balanced and --metric f1 "
                   "give the others more weight"
                 : advice(loss) + "; train --find-lr looks for a rate";
}

std::string always_one_class(const Json& run) {
  const std::string help = one_class_advice(run);
  return help.empty()
             ? ""
             : "every text of dev is taken for the same class: nothing was learned; " + help;
}

std::string no_better_than_guessing(const Json& run, double tokens) {
  const double loss = report::number(run, "/dev/loss"), guessing = std::log(tokens);
  if (!(loss >= guessing)) return "";
  return fmt::format(
      "the loss on dev, {:.4g}, is not below {:.4g}, that of guessing among {} tokens: nothing was "
      "learned; {}",
      loss, guessing, tokens, advice(loss));
}

std::vector<std::string> what_it_lacks(const Json& comparison) {
  std::vector<std::string> all;
  for (const char* key : {"/failed", "/unfinished"}) {
    std::map<std::string, std::size_t> seeds;
    for (const Json& run : report::at(comparison, key)) ++seeds[report::text(run, "/spec")];
    for (const Json& run : report::at(comparison, key)) {
      const std::string spec = report::text(run, "/spec"), error = report::text(run, "/error");
      const std::size_t count = std::exchange(seeds[spec], 0);
      if (count == 0) continue;
      // The others may have failed in another step, or of another cause.
      const std::string rest = count > 1 ? report::counted(count - 1, "other seed") : "";
      const char* const verb = error.empty() ? "has not ended" : "failed: ";
      all.push_back(fmt::format("{} with seed {} {}{}{}", spec,
                                report::plain(report::at(run, "/seed")), verb, error,
                                rest.empty()    ? ""
                                : error.empty() ? "; nor did " + rest + " end"
                                                : "; " + rest + " failed too"));
    }
  }
  const bool masked = report::is_masked_lm(comparison);
  const double vocabulary = report::number(comparison, "/model/config/vocab_size");
  for (const Json& run : report::at(comparison, "/runs"))
    for (const std::string& flaw :
         {time_was_up(comparison, run), skipped_steps(run), always_one_class(run),
          masked ? no_better_than_guessing(run, vocabulary) : ""})
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

std::vector<std::string> what_was_tuned(const Json& comparison) {
  std::vector<std::string> lines;
  for (const Json& entry : report::at(comparison, "/tuning")) {
    const Json& tried = report::at(entry, "/tried");
    const std::string best = report::text(entry, "/spec");
    if (!learning_rate(best)) {
      lines.push_back(report::run_name(entry) + ": makes its own step size, no rate was searched");
      continue;
    }
    std::vector<std::string> specs, rates;
    std::size_t scored = 0;
    for (const Json& one : tried) {
      const double score = report::number(one, "/score");
      specs.push_back(report::text(one, "/spec"));
      rates.push_back(
          fmt::format("{:.3g}: {}", learning_rate(specs.back()).value_or(0),
                      std::isfinite(score)
                          ? fmt::format("{:.4g}{}", score, specs.back() == best ? " (best)" : "")
                          : "failed"));
      scored += std::isfinite(score) ? 1 : 0;
    }
    const double spread = report::number(entry, "/spread");
    std::string found = fmt::format("spread {:.3g}", spread);
    if (scored == 0)
      found = "none has a finite score";
    else if (specs.size() > 1 && scored == specs.size() && spread == 0)
      found += report::text(entry, "/metric") == "loss"
                   ? "; all are alike, so nothing tells which rate is the best"
                   : "; all are alike, the best has the least loss";
    else if (specs.size() > 1 && (specs.front() == best || specs.back() == best))
      found += fmt::format("; the best is the {} that was tried, beyond may lie a better one",
                           specs.front() == best ? "least" : "greatest");
    lines.push_back(fmt::format("{}: dev {} by learning rate  {}; {}", report::run_name(entry),
                                report::text(entry, "/metric"), report::joined(rates), found));
  }
  return lines;
}

std::string report_html(const Json& json) {
  using namespace report;
  const Comparison comparison = read(json);
  std::string content = header(comparison);
  if (!comparison.entries.empty()) {
    const std::string classes = confusion_section(comparison) + worst_section(comparison);
    const bool alone = comparison.entries.size() == 1;  // what is asked of one is how good it is
    content += differences_section(comparison) + results_section(comparison) +
               (alone ? classes : "") + curves_section(comparison) + watching_section(comparison) +
               state_section(comparison) + (alone ? "" : classes);
  }
  return report_page("minima: " + title(comparison), content + setup_section(comparison));
}

}  // namespace minima

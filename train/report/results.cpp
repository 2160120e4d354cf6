#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "train/report.hpp"
#include "train/report/parts.hpp"

namespace minima::report {
namespace {

enum class Kind { size, measured, range };  ///< sizes do not differ between seeds
constexpr int kSignificant = -1;            // three digits, for what spans powers of ten

struct Column {
  const char *heading, *unit, *path;
  double factor;  // from the file's unit to the column's
  int decimals;
  Kind kind = Kind::measured;
};

constexpr Column kColumns[] = {
    {"State", "elements", "/state_elements", 1, 0, Kind::size},
    {"State", "MB", "/state_bytes", 1 / kMegabyte, kSignificant, Kind::size},
    {"Step", "ms", "/step_ms", 1, kMilliseconds},
    {"Speed", "tokens/s", "/tokens_per_second", 1, 0},
    {"Peak memory", "MB", "/peak_bytes", 1 / kMegabyte, kPeak},
    {"Dev accuracy", "%", "/dev/accuracy", 100, kPercent},
    {"Perplexity", "dev", "/dev/perplexity", 1, 1},
    {"Test accuracy", "%", "/test/accuracy", 100, kPercent},
    {"Macro-F1", "test, %", "/test/macro_f1", 100, kPercent},
    {"Positive F1", "test, %", "/test/positive_f1", 100, kPercent},
    {"Loss", "test, nats", "/test/loss", 1, kLoss},
    {"Best epoch", "", "/best_epoch", 1, 0, Kind::range},
};

/// The columns that a run has, where one has ended.
std::vector<Column> columns(const Comparison& comparison) {
  std::vector<Column> out;
  if (comparison.all_failed()) return out;
  for (Column column : kColumns) {
    if (!is_shown(comparison, column.path)) continue;
    if (comparison.masked && std::string_view(column.path) == "/dev/accuracy")
      column.unit = "% of hidden tokens";
    if (comparison.own_loop && std::string_view(column.path) == "/test/loss") column.unit = "test";
    out.push_back(column);
  }
  return out;
}

std::string range_cell(const Entry& entry, const char* path) {
  std::vector<double> values;
  for (const Json* run : entry.runs) values.push_back(number(*run, path));
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  if (values.empty()) return fmt::format("<td>{}</td>", kMissing);
  const auto [low, high] = std::ranges::minmax(values);
  return fmt::format("<td>{}{}</td>", fixed(low, 0), low == high ? "" : "–" + fixed(high, 0));
}

std::string cell(const Entry& entry, const Column& column) {
  if (column.kind == Kind::range) return range_cell(entry, column.path);
  const Summary s = summarize(entry, column.path, column.factor);
  if (s.count == 0) return fmt::format("<td>{}</td>", kMissing);
  const auto written = [&](double value) {
    return column.decimals == kSignificant ? significant(value) : fixed(value, column.decimals);
  };
  std::string spread;
  if (s.deviation > 0 || (s.count > 1 && column.kind == Kind::measured))
    spread = "± " + written(s.deviation);
  if (s.missing > 0)
    spread += fmt::format("{}{} of {}", spread.empty() ? "" : ", ", s.count, s.count + s.missing);
  if (!spread.empty()) spread = fmt::format("<span class=\"spread\">{}</span>", spread);
  return fmt::format("<td><data value=\"{}\">{}</data>{}</td>", s.mean / column.factor,
                     written(s.mean), spread);
}

/// Those of the parameter groups, each once.
std::string learning_rate(const Entry& entry) {
  std::vector<std::string> rates;
  for (const Json& group : at(*entry.runs.front(), "/options/groups")) {
    const Json& options = at(group, "/options");
    const bool relative = at(options, "/relative_step") == true;
    const std::string rate = relative ? "relative" : shortest(number(options, "/lr"));
    if (std::ranges::find(rates, rate) == rates.end()) rates.push_back(rate);
  }
  return rates.empty() ? std::string(kMissing) : joined(rates);
}

std::string results(const Comparison& comparison) {
  const std::vector<Column> shown = columns(comparison);
  std::string out = fmt::format(
      "<table class=\"numbers\">\n<caption>What each {} cost and "
      "reached</caption>\n<thead><tr>"
      "<th scope=\"col\">{}</th><th scope=\"col\">Learning rate</th>",
      comparison.by_label ? "run" : "optimizer", comparison.by_label ? "Run" : "Optimizer");
  for (const Column& column : shown)
    out += fmt::format("<th scope=\"col\">{}<span class=\"unit\">{}</span></th>", column.heading,
                       column.unit);
  if (shown.empty()) out += "<th scope=\"col\" class=\"failure\">Result</th>";
  out += "</tr></thead>\n<tbody>\n";
  const std::vector<std::string> heads = row_heads(comparison);
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const Entry& entry = comparison.entries[i];
    if (!entry.failure.empty()) continue;
    out += fmt::format("<tr>{}<td>{}</td>", heads[i], learning_rate(entry));
    for (const Column& column : shown) out += cell(entry, column);
    out += "</tr>\n";
  }
  for (const Entry& entry : comparison.failed)
    out += fmt::format(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"failure\" colspan=\"{}\">failed: "
        "{}</td></tr>\n",
        escaped(entry.name), learning_rate(entry), std::max<std::size_t>(1, shown.size()),
        escaped(entry.failure));
  return out + "</tbody>\n</table>\n";
}

std::string notes(const Comparison& comparison) {
  std::vector<std::string> differing;
  bool predicted = false;
  for (const Entry& entry : comparison.entries)
    for (const Json* run : entry.runs) {
      const double bytes = number(*run, "/state_bytes");
      const double expected = number(*run, "/state_bytes_predicted");
      if (!std::isfinite(bytes) || !std::isfinite(expected)) continue;
      predicted = true;
      if (bytes != expected)
        differing.push_back(fmt::format("{} ({} predicted, {} allocated)", entry.name,
                                        fixed(expected, 0), fixed(bytes, 0)));
    }
  std::string out = "MB = 2²⁰ bytes. Step: the median.";
  if (comparison.seeds > 1) out += " ±: the standard deviation over seeds (n − 1).";
  out += comparison.keeps_last ? " Scores are those of the last evaluation: the last model is kept."
                               : " Scores are those of the epoch that was best on dev.";
  if (tells_error(comparison)) {
    out +=
        " Standard error of a mean accuracy: √(s²/n + p(1 − p)/N) for n seeds with deviation s and "
        "N test texts; for a difference the root of both squared, an upper bound, as the texts are "
        "the same.";
    if (comparison.seeds == 1)
      out += " One seed leaves s unknown, and the second term alone is told.";
  }
  if (std::ranges::any_of(comparison.entries,
                          [](const Entry& entry) { return !before_change(entry).empty(); }))
    out += " Where the optimizer was changed, learning rate and state are those before the change.";
  if (!differing.empty())
    out += " State differs from its prediction: " + joined(differing) + ".";
  else if (predicted)
    out += " State in bytes is exactly what was predicted before training.";
  return fmt::format("<p class=\"note\">{}</p>\n", escaped(out));
}

/// The learning rates that were tried.
std::string tuning(const Comparison& comparison) {
  std::string items;
  for (const std::string& line : what_was_tuned(comparison.json))
    items += fmt::format("<li>{}</li>\n", escaped(line));
  return items.empty()
             ? ""
             : "<h3>Learning rates that were tried</h3>\n<ul class=\"note\">\n" + items + "</ul>\n";
}

}  // namespace

std::string results_section(const Comparison& comparison) {
  return section("results", "Cost and result",
                 scrolling("Cost and result", results(comparison)) +
                     (comparison.all_failed() ? "" : notes(comparison)) + tuning(comparison));
}

}  // namespace minima::report

#include "train/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "train/chart.hpp"
#include "train/html.hpp"
#include "train/metrics.hpp"
#include "train/report_style.hpp"

namespace minima {
namespace {

using html::escaped, html::fixed, html::kMissing, html::shortest, html::significant;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kMegabyte = 1 << 20;
constexpr std::size_t kMatrixLabels = 16;  // in a confusion matrix; the rest are counted together
constexpr std::size_t kListed = 40;        // values of an array that are written out

// ---- Reading. What is missing is a null, what is not a number NaN. --------------------------

const Json& at(const Json& json, const char* path) {
  static const Json null;
  const Json::json_pointer pointer(path);
  return json.contains(pointer) ? json.at(pointer) : null;
}

double as_number(const Json& json) { return json.is_number() ? json.get<double>() : kNaN; }
double number(const Json& json, const char* path) { return as_number(at(json, path)); }

std::string text(const Json& json, const char* path) {
  const Json& value = at(json, path);
  return value.is_string() ? value.get<std::string>() : "";
}

/// The runs of one optimizer with one set of options; they differ in their seeds.
struct Entry {
  std::string name, spec;
  int style;
  std::vector<const Json*> runs;
};

struct Comparison {
  const Json& json;
  std::vector<Entry> entries;
  std::size_t seeds = 0;  // the most that an entry has
};

Comparison read(const Json& json) {
  Comparison comparison{json, {}};
  std::vector<Entry>& entries = comparison.entries;
  for (const Json& run : at(json, "/runs")) {
    const std::string name = text(run, "/optimizer");
    const std::string spec = at(run, "/spec").is_string() ? text(run, "/spec") : name;
    auto entry = std::ranges::find(entries, spec, &Entry::spec);
    if (entry == entries.end())
      entry = entries.insert(entry, {name, spec, static_cast<int>(entries.size()), {}});
    entry->runs.push_back(&run);
    comparison.seeds = std::max(comparison.seeds, entry->runs.size());
  }
  // One optimizer with several sets of options: the name alone would not tell them apart.
  std::vector<std::string> names;
  for (const Entry& entry : entries) names.push_back(entry.name);
  for (Entry& entry : entries)
    if (entry.name.empty() || std::ranges::count(names, entry.name) > 1) entry.name = entry.spec;
  return comparison;
}

/// Mean and standard deviation of the finite values.
struct Summary {
  double mean = kNaN, deviation = 0;
  std::size_t count = 0, missing = 0;
};

Summary summarize(const std::vector<double>& values) {
  std::vector<double> finite;
  std::ranges::copy_if(values, std::back_inserter(finite),
                       [](double v) { return std::isfinite(v); });
  if (finite.empty()) return {.missing = values.size()};
  return {mean(finite), deviation(finite), finite.size(), values.size() - finite.size()};
}

Summary summarize(const Entry& entry, const char* path, double factor = 1) {
  std::vector<double> values;
  for (const Json* run : entry.runs) values.push_back(factor * number(*run, path));
  return summarize(values);
}

// ---- Writing. -------------------------------------------------------------------------------

std::string counted(std::size_t n, std::string_view noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

std::string joined(const std::vector<std::string>& parts, std::string_view last = ", ") {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i)
    out += (i == 0 ? "" : i + 1 == parts.size() ? std::string(last) : ", ") + parts[i];
  return out;
}

// With no-break spaces: a number and its unit stay on one line.
std::string megabytes(double bytes) { return significant(bytes / kMegabyte) + "\u00a0MB"; }
std::string percent(double share) { return fixed(100 * share, 1) + "\u00a0%"; }

/// Decimals that give a number of this size three digits.
int three_digits(double value) {
  if (!std::isfinite(value) || value == 0) return 0;
  return std::clamp(2 - static_cast<int>(std::floor(std::log10(std::abs(value)))), 0, 6);
}

/// "83.1 ± 0.4", the deviation only where there is one.
std::string with_deviation(const Summary& s, int decimals) {
  std::string out = fixed(s.mean, decimals);
  if (s.deviation > 0) out += "\u00a0±\u00a0" + fixed(s.deviation, decimals);
  return out;
}

std::string section(std::string_view id, std::string_view heading, const std::string& content) {
  return fmt::format("<section aria-labelledby=\"{0}\">\n<h2 id=\"{0}\">{1}</h2>\n{2}</section>\n",
                     id, heading, content);
}

std::string figure(std::string_view heading, const std::string& image, const std::string& caption) {
  return fmt::format("<figure>\n<h3>{}</h3>\n{}<figcaption>{}</figcaption>\n</figure>\n", heading,
                     image, escaped(caption));
}

/// A wide thing that scrolls by itself, also by keyboard.
std::string scrolling(std::string_view name, const std::string& content) {
  return fmt::format(
      "<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">\n{}</div>\n",
      escaped(name), content);
}

std::string details(std::string_view summary, const std::string& content) {
  return fmt::format("<details>\n<summary>{}</summary>\n{}</details>\n", escaped(summary), content);
}

std::string spaced(std::string key) {
  std::ranges::replace(key, '_', ' ');
  return key;
}

std::string plain(const Json& value) {
  if (value.is_null() || value.empty() || value == "") return std::string(kMissing);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return fixed(value.get<double>(), 0);
  if (value.is_number()) {
    constexpr std::size_t kLong = 8;  // a setting is shorter, a measurement is rounded
    const std::string digits = shortest(value.get<double>());
    return digits.size() > kLong ? significant(value.get<double>(), 4) : digits;
  }
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  std::vector<std::string> parts;
  for (const auto& [key, element] : value.items()) {
    if (parts.size() == kListed) {
      parts.push_back(fmt::format("and {} more", value.size() - kListed));
      break;
    }
    parts.push_back(value.is_object() ? spaced(key) + " " + plain(element) : plain(element));
  }
  return joined(parts);
}

bool is_table(const Json& value) {
  return value.is_array() && !value.empty() && value.front().is_object();
}

/// The members of an object as a list. After it stand those that are lists of objects, one by one,
/// and the one named `large`, to be unfolded.
std::string definitions(const Json& object, std::string_view large = {}) {
  if (!object.is_object() || object.empty()) return fmt::format("<p>{}</p>\n", kMissing);
  std::string out = "<dl>\n", after;
  for (const auto& [key, value] : object.items()) {
    const std::string name = spaced(key);
    if (key == large && value.is_object()) {
      after += details(name, definitions(value));
    } else if (is_table(value)) {
      for (std::size_t i = 0; i < value.size(); ++i)
        after += fmt::format("<p class=\"note\">{}, {} of {}</p>\n{}", escaped(name), i + 1,
                             value.size(), definitions(value[i]));
    } else {
      out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(plain(value)));
    }
  }
  return out + "</dl>\n" + after;
}

// ---- The verdict. ---------------------------------------------------------------------------

/// What the others are measured against: adamw, or else the first.
const Entry& baseline(const Comparison& comparison) {
  const auto adamw = std::ranges::find_if(comparison.entries, [](const Entry& entry) {
    return entry.spec == "adamw" || entry.spec.starts_with("adamw:");
  });
  return adamw == comparison.entries.end() ? comparison.entries.front() : *adamw;
}

double test_texts(const Comparison& comparison) { return number(comparison.json, "/data/test"); }

/// Of a mean test accuracy p over n seeds with deviation s, on N texts: √(s²/n + p(1 − p)/N), for
/// another draw of seeds and of texts.
double standard_error(const Summary& accuracy, double texts) {
  const double p = accuracy.mean;
  double variance = 0;
  if (accuracy.count > 1)
    variance += accuracy.deviation * accuracy.deviation / static_cast<double>(accuracy.count);
  if (texts > 0) variance += p * (1 - p) / texts;
  return std::sqrt(variance);
}

/// How the test accuracies of two entries differ. Both answer the same texts, so that the error is
/// an upper bound.
struct Difference {
  Summary one, other;
  double value, error;

  bool known() const { return std::isfinite(value); }
  bool resolved() const { return std::abs(value) > error; }
};

Difference difference(const Comparison& comparison, const Entry& entry, const Entry& base) {
  const Summary one = summarize(entry, "/test/accuracy"), other = summarize(base, "/test/accuracy");
  const double texts = test_texts(comparison);
  return {one, other, one.mean - other.mean,
          std::hypot(standard_error(one, texts), standard_error(other, texts))};
}

std::string accuracy_in_words(const Difference& d) {
  if (!d.known()) return "its test accuracy cannot be compared";
  std::string out = fmt::format("reached {} test accuracy against {}: ", percent(d.one.mean),
                                percent(d.other.mean));
  const double points = std::abs(100 * d.value), error = 100 * d.error;
  if (d.value == 0) return out + "no difference";
  out += fmt::format("{} points {}, ", significant(points, 2), d.value < 0 ? "lower" : "higher");
  if (error == 0) return out + "of unknown standard error";
  if (!d.resolved())
    return out + fmt::format("within one standard error ({}), so that no difference is resolved",
                             significant(error, 2));
  return out + fmt::format("{} standard errors", fixed(points / error, 1));
}

std::string state_in_words(const Entry& entry, const Entry& base) {
  const double bytes = summarize(entry, "/state_bytes").mean;
  const double base_bytes = summarize(base, "/state_bytes").mean;
  if (!std::isfinite(bytes) || !std::isfinite(base_bytes)) return {};
  if (base_bytes == 0)
    return fmt::format("kept {} of state where {} keeps none and ", megabytes(bytes),
                       escaped(base.name));
  return fmt::format("kept {}\u00a0% of {}’s state ({} of {}) and ",
                     significant(100 * bytes / base_bytes, 2), escaped(base.name),
                     significant(bytes / kMegabyte), megabytes(base_bytes));
}

std::string time_in_words(const Entry& entry, const Entry& base) {
  const double ratio = summarize(entry, "/step_ms").mean / summarize(base, "/step_ms").mean;
  if (!std::isfinite(ratio)) return {};
  return fmt::format(" Its step took {} times as long.", fixed(ratio, 2));
}

std::string finding(const Comparison& comparison, const Entry& entry, const Entry& base) {
  return fmt::format(
      "<strong>{}</strong> {}{}.{}", escaped(entry.name), state_in_words(entry, base),
      accuracy_in_words(difference(comparison, entry, base)), time_in_words(entry, base));
}

std::string single_finding(const Entry& entry) {
  return fmt::format(
      "<strong>{}</strong> reached {}\u00a0% test accuracy with {} of state and {}\u00a0ms a "
      "step.",
      escaped(entry.name), with_deviation(summarize(entry, "/test/accuracy", 100), 1),
      megabytes(summarize(entry, "/state_bytes").mean),
      significant(summarize(entry, "/step_ms").mean));
}

/// The finding that comes first: the least state among those that save some and are not resolved
/// to be less accurate; failing that, the most accurate of those that save some, or of all.
const Entry& headline(const Comparison& comparison, const std::vector<const Entry*>& others,
                      const Entry& base) {
  const double base_bytes = summarize(base, "/state_bytes").mean;
  const auto rank = [&](const Entry* entry) {
    const Difference d = difference(comparison, *entry, base);
    const double bytes = summarize(*entry, "/state_bytes").mean;
    const bool saves = bytes < base_bytes, accurate = d.value >= -d.error;
    return std::tuple(!saves, !accurate, saves && accurate ? bytes : d.known() ? -d.value : 1);
  };
  return **std::ranges::min_element(others, {}, rank);
}

std::string verdict(const Comparison& comparison) {
  const Entry& base = baseline(comparison);
  std::vector<const Entry*> others;
  for (const Entry& entry : comparison.entries)
    if (&entry != &base) others.push_back(&entry);
  const Entry& first = others.empty() ? base : headline(comparison, others, base);
  std::string out =
      fmt::format("<p class=\"verdict\">{}</p>\n",
                  others.empty() ? single_finding(base) : finding(comparison, first, base));

  std::string rest;
  for (const Entry* entry : others)
    if (entry != &first) rest += fmt::format("<li>{}</li>\n", finding(comparison, *entry, base));
  const double yardstick = number(comparison.json, "/data/bag_of_words/test");
  if (std::isfinite(yardstick))
    rest += fmt::format(
        "<li>For scale: a naive-Bayes bag of words reaches {} on the same texts.</li>\n",
        percent(yardstick));
  if (!rest.empty()) out += "<ul class=\"findings\">\n" + rest + "</ul>\n";
  return out;
}

std::string title(const Comparison& comparison) {
  std::vector<std::string> names;
  for (const Entry& entry : comparison.entries) names.push_back(entry.name);
  const std::string what = names.empty()       ? "No runs"
                           : names.size() <= 4 ? joined(names, " and ")
                                               : counted(names.size(), "optimizer");
  const std::string data = text(comparison.json, "/data/name");
  return data.empty() ? what : what + " on " + data;
}

std::string header(const Comparison& comparison) {
  const Json& json = comparison.json;
  std::vector<std::string> facts = {"minima compare"};
  if (const std::string model = text(json, "/model/name"); !model.empty())
    facts.push_back(
        fmt::format("model {}, {} parameters", model, fixed(number(json, "/model/parameters"), 0)));
  if (std::isfinite(number(json, "/data/train")))
    facts.push_back(fixed(number(json, "/data/train"), 0) + " training texts");
  if (comparison.seeds > 0) facts.push_back(counted(comparison.seeds, "seed"));
  std::string kicker;
  for (const std::string& fact : facts) kicker += (kicker.empty() ? "" : " · ") + fact;
  return fmt::format("<header>\n<p class=\"kicker\">{}</p>\n<h1>{}</h1>\n{}</header>\n",
                     escaped(kicker), escaped(title(comparison)),
                     comparison.entries.empty()
                         ? "<p class=\"verdict\">There is nothing to compare.</p>\n"
                         : verdict(comparison));
}

// ---- The table. -----------------------------------------------------------------------------

enum class Format { count, three_digits, one_decimal, three_decimals, range };

struct Column {
  const char *heading, *unit, *path;
  double factor;  // from the file's unit to the column's
  Format format;
};

constexpr Column kColumns[] = {
    {"State", "elements", "/state_elements", 1, Format::count},
    {"State", "MB", "/state_bytes", 1 / kMegabyte, Format::three_digits},
    {"Step", "ms", "/step_ms", 1, Format::three_digits},
    {"Speed", "tokens/s", "/tokens_per_second", 1, Format::count},
    {"Peak memory", "MB", "/peak_bytes", 1 / kMegabyte, Format::three_digits},
    {"Dev accuracy", "%", "/dev/accuracy", 100, Format::one_decimal},
    {"Test accuracy", "%", "/test/accuracy", 100, Format::one_decimal},
    {"Macro-F1", "test", "/test/macro_f1", 1, Format::three_decimals},
    {"Positive F1", "test", "/test/positive_f1", 1, Format::three_decimals},
    {"Loss", "test, nats", "/test/loss", 1, Format::three_decimals},
    {"Best epoch", "", "/best_epoch", 1, Format::range},
};

/// The columns that any run has, but for the F1 that exists for two classes only.
std::vector<Column> columns(const Comparison& comparison) {
  const auto positive = [](const Json* run) {
    return run->contains("/test/positive_f1"_json_pointer);
  };
  const bool two_classes = std::ranges::any_of(
      comparison.entries, [&](const Entry& e) { return std::ranges::any_of(e.runs, positive); });
  std::vector<Column> out;
  for (const Column& column : kColumns)
    if (two_classes || std::string_view(column.path) != "/test/positive_f1") out.push_back(column);
  return out;
}

int decimals(Format format, double value) {
  switch (format) {
    case Format::three_digits:
      return three_digits(value);
    case Format::one_decimal:
      return 1;
    case Format::three_decimals:
      return 3;
    case Format::count:
    case Format::range:
      break;
  }
  return 0;
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
  if (column.format == Format::range) return range_cell(entry, column.path);
  const Summary s = summarize(entry, column.path, column.factor);
  if (s.count == 0) return fmt::format("<td>{}</td>", kMissing);
  const int digits = decimals(column.format, s.mean);
  std::string spread = s.deviation > 0 ? "± " + fixed(s.deviation, digits) : "";
  if (s.missing > 0)
    spread += fmt::format("{}{} of {}", spread.empty() ? "" : ", ", s.count, s.count + s.missing);
  if (!spread.empty()) spread = fmt::format("<span class=\"spread\">{}</span>", spread);
  return fmt::format("<td><data value=\"{}\">{}</data>{}</td>", s.mean / column.factor,
                     fixed(s.mean, digits), spread);
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
  std::string out =
      "<table class=\"numbers\">\n<caption>What each optimizer cost and "
      "reached</caption>\n<thead><tr>"
      "<th scope=\"col\">Optimizer</th><th scope=\"col\">Learning rate</th>";
  for (const Column& column : shown)
    out += fmt::format("<th scope=\"col\">{}<span class=\"unit\">{}</span></th>", column.heading,
                       column.unit);
  out += "</tr></thead>\n<tbody>\n";
  for (const Entry& entry : comparison.entries) {
    out += fmt::format("<tr><th scope=\"row\">{}{}</th><td>{}</td>", chart::swatch(entry.style),
                       escaped(entry.name), learning_rate(entry));
    for (const Column& column : shown) out += cell(entry, column);
    out += "</tr>\n";
  }
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
  out += " Scores are those of the epoch that was best on dev.";
  out +=
      " Standard error of a mean accuracy: √(s²/n + p(1 − p)/N) for n seeds with deviation s and N"
      " test texts; for a difference the root of both squared, an upper bound, as the texts are the"
      " same.";
  if (comparison.seeds == 1) out += " One seed leaves s unknown.";
  if (!differing.empty())
    out += " State differs from its prediction: " + joined(differing) + ".";
  else if (predicted)
    out += " State in bytes is exactly what was predicted before training.";
  return fmt::format("<p class=\"note\">{}</p>\n", escaped(out));
}

// ---- Charts. --------------------------------------------------------------------------------

/// The mean over seeds at each index, with ± one deviation as a band.
struct Curve {
  std::vector<chart::Point> line;
  std::vector<chart::Interval> band;
};

Curve over_seeds(const std::vector<std::vector<double>>& runs) {
  Curve curve;
  std::size_t length = 0;
  for (const auto& run : runs) length = std::max(length, run.size());
  for (std::size_t i = 0; i < length; ++i) {
    std::vector<double> values;
    for (const auto& run : runs)
      if (i < run.size()) values.push_back(run[i]);
    const Summary s = summarize(values);
    const double x = static_cast<double>(i + 1);
    curve.line.push_back({x, s.mean});
    if (s.count > 1) curve.band.push_back({x, s.mean - s.deviation, s.mean + s.deviation});
  }
  return curve;
}

/// The mean of the finite values within `reach` of each index.
std::vector<double> smoothed(const std::vector<double>& values, std::size_t reach) {
  std::vector<double> sum{0}, out;
  std::vector<std::size_t> count{0};
  for (const double value : values) {
    const bool finite = std::isfinite(value);
    sum.push_back(sum.back() + (finite ? value : 0));
    count.push_back(count.back() + (finite ? 1 : 0));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t first = i < reach ? 0 : i - reach;
    const std::size_t last = std::min(values.size(), i + reach + 1);
    const std::size_t n = count[last] - count[first];
    out.push_back(n == 0 ? kNaN : (sum[last] - sum[first]) / static_cast<double>(n));
  }
  return out;
}

std::vector<double> numbers(const Json& array) {
  std::vector<double> out;
  for (const Json& value : array) out.push_back(as_number(value));
  return out;
}

/// "adamw 0.312, adafactor 0.354": each series at its last point.
std::string ends(const std::vector<chart::Series>& series, int decimals) {
  std::vector<std::string> parts;
  for (const chart::Series& s : series)
    parts.push_back(s.name + " " + fixed(s.line.empty() ? kNaN : s.line.back().y, decimals));
  return joined(parts);
}

/// A log scale where the values span so much that a linear one would hide most of them.
chart::Scale scale_for(std::vector<double> values, double span) {
  std::erase_if(values, [](double v) { return !(v > 0) || !std::isfinite(v); });
  const bool wide = !values.empty() && std::ranges::max(values) > span * std::ranges::min(values);
  return wide ? chart::Scale::log : chart::Scale::linear;
}

std::string bands_caption(const Comparison& comparison) {
  return comparison.seeds > 1 ? " Mean over seeds; bands: ± one standard deviation." : "";
}

std::string loss_chart(const Comparison& comparison) {
  std::vector<chart::Series> series;
  std::vector<double> values;
  std::size_t steps = 0;
  for (const Entry& entry : comparison.entries)
    for (const Json* run : entry.runs) steps = std::max(steps, at(*run, "/train_loss").size());
  const std::size_t reach = (steps + 20) / 40;
  for (const Entry& entry : comparison.entries) {
    std::vector<std::vector<double>> raw, smooth;
    for (const Json* run : entry.runs) {
      raw.push_back(numbers(at(*run, "/train_loss")));
      smooth.push_back(smoothed(raw.back(), reach));
    }
    Curve curve = over_seeds(smooth);
    for (const chart::Point& p : curve.line) values.push_back(p.y);
    series.push_back({entry.name, entry.style, std::move(curve.line),
                      reach > 0 ? over_seeds(raw).line : std::vector<chart::Point>{},
                      std::move(curve.band)});
  }
  const std::string smoothing =
      reach > 0 ? fmt::format("Mean over {} steps, the raw values thin behind it.", 2 * reach + 1)
                : "";
  return figure(
      "Training loss",
      chart::lines({"loss", "Training loss by step", "After the last step: " + ends(series, 3)},
                   {"step", chart::Scale::linear, chart::Ticks::whole},
                   {"cross-entropy, nats", scale_for(values, 200)}, series),
      smoothing + bands_caption(comparison));
}

std::string accuracy_chart(const Comparison& comparison) {
  std::vector<chart::Series> series;
  for (const Entry& entry : comparison.entries) {
    std::vector<std::vector<double>> runs;
    for (const Json* run : entry.runs) {
      std::vector<double>& run_values = runs.emplace_back();
      for (const Json& epoch : at(*run, "/epochs"))
        run_values.push_back(100 * number(epoch, "/dev/accuracy"));
    }
    Curve curve = over_seeds(runs);
    for (chart::Interval& i : curve.band) i.high = std::min(i.high, 100.0);
    for (chart::Point& p : curve.line)
      p.tip = fmt::format("{}, epoch {}: {} %", entry.name, p.x, fixed(p.y, 1));
    series.push_back({entry.name, entry.style, std::move(curve.line), {}, std::move(curve.band)});
  }
  std::vector<chart::Rule> rules;
  if (const double dev = number(comparison.json, "/data/bag_of_words/dev"); std::isfinite(dev))
    rules.push_back({"bag of words " + percent(dev), 100 * dev});
  return figure("Accuracy on dev",
                chart::lines({"accuracy", "Accuracy on dev by epoch, in percent",
                              "After the last epoch: " + ends(series, 1)},
                             {"epoch", chart::Scale::linear, chart::Ticks::whole},
                             {"% right", chart::Scale::linear}, series, rules),
                "After each epoch." + bands_caption(comparison));
}

std::string trade_off_chart(const Comparison& comparison) {
  std::vector<chart::Cloud> clouds;
  std::vector<double> sizes;
  std::vector<std::string> words;
  for (const Entry& entry : comparison.entries) {
    const Summary size = summarize(entry, "/state_bytes", 1 / kMegabyte);
    const Summary accuracy = summarize(entry, "/test/accuracy", 100);
    chart::Cloud cloud{entry.name,     entry.style,       {}, {size.mean, accuracy.mean},
                       size.deviation, accuracy.deviation};
    for (const Json* run : entry.runs)
      cloud.points.push_back(
          {number(*run, "/state_bytes") / kMegabyte, 100 * number(*run, "/test/accuracy")});
    cloud.mean.tip = fmt::format("{}: {} MB, {} %", entry.name, significant(size.mean),
                                 with_deviation(accuracy, 1));
    words.push_back(cloud.mean.tip);
    sizes.push_back(size.mean);
    clouds.push_back(std::move(cloud));
  }
  std::vector<chart::Rule> rules;
  if (const double test = number(comparison.json, "/data/bag_of_words/test"); std::isfinite(test))
    rules.push_back({"bag of words " + percent(test), 100 * test});
  const chart::Scale scale = scale_for(sizes, 10);
  return figure(
      "State against accuracy on test",
      chart::scatter(
          {"trade-off", "Optimizer state in MB against accuracy on test in percent", joined(words)},
          {scale == chart::Scale::log ? "optimizer state, MB (log scale)" : "optimizer state, MB",
           scale},
          {"% right"}, clouds, rules),
      comparison.seeds > 1 ? "Up and to the left is better. Markers: means; whiskers: ± one "
                             "standard deviation; dots: seeds."
                           : "Up and to the left is better.");
}

std::string cost_bars(const Comparison& comparison, const std::string& id, const std::string& title,
                      const char* path, double factor, const std::string& unit) {
  std::vector<chart::Bar> bars;
  std::vector<std::string> words;
  for (const Entry& entry : comparison.entries) {
    const Summary s = summarize(entry, path, factor);
    const std::string value = with_deviation(s, three_digits(s.mean)) + "\u00a0" + unit;
    bars.push_back({entry.name, entry.style, s.mean, s.deviation, value});
    words.push_back(entry.name + " " + value);
  }
  return chart::bars({id, title, joined(words)}, bars);
}

std::string cost_chart(const Comparison& comparison) {
  return figure("Time of a step",
                cost_bars(comparison, "step-time", "Median time of a step", "/step_ms", 1, "ms") +
                    "<h3>Peak memory</h3>\n" +
                    cost_bars(comparison, "peak-memory", "Peak memory in training", "/peak_bytes",
                              1 / kMegabyte, "MB"),
                "Forward, backward and update; weights, gradients, activations and state.");
}

std::string charts(const Comparison& comparison) {
  return "<div class=\"charts\">\n" + loss_chart(comparison) + accuracy_chart(comparison) +
         trade_off_chart(comparison) + cost_chart(comparison) + "</div>\n";
}

// ---- Confusion matrices. --------------------------------------------------------------------

/// counts[actual][predicted], with the names of its labels.
struct Matrix {
  std::vector<std::string> labels;
  std::vector<std::vector<double>> counts;

  double texts(std::size_t actual) const {
    return std::accumulate(counts[actual].begin(), counts[actual].end(), 0.0);
  }
};

/// None unless `json` is a square of numbers.
std::optional<Matrix> read_matrix(const Json& json, const Json& names) {
  if (!json.is_array() || json.empty()) return {};
  Matrix matrix;
  for (std::size_t i = 0; i < json.size(); ++i) {
    matrix.counts.push_back(numbers(json[i]));
    if (matrix.counts.back().size() != json.size()) return {};
    for (const double count : matrix.counts.back())
      if (!(count >= 0) || !std::isfinite(count)) return {};
    const bool named = names.is_array() && i < names.size() && names[i].is_string();
    matrix.labels.push_back(named ? names[i].get<std::string>() : fmt::format("class {}", i));
  }
  return matrix;
}

/// The most frequent labels; the others are added up in one more.
Matrix condensed(const Matrix& matrix) {
  const std::size_t n = matrix.labels.size();
  if (n <= kMatrixLabels) return matrix;
  std::vector<std::size_t> order(n), place(n, kMatrixLabels - 1);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return matrix.texts(i); });
  order.resize(kMatrixLabels - 1);
  std::ranges::sort(order);
  Matrix out;
  for (std::size_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    out.labels.push_back(matrix.labels[order[i]]);
  }
  out.labels.push_back(fmt::format("{} others", n - order.size()));
  out.counts.assign(kMatrixLabels, std::vector<double>(kMatrixLabels));
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) out.counts[place[i]][place[j]] += matrix.counts[i][j];
  return out;
}

std::string matrix_table(const Matrix& matrix, const std::string& caption) {
  std::string out = fmt::format(
      "<table class=\"matrix{}\">\n<caption>{}</caption>\n<thead><tr>"
      "<th scope=\"col\">actual ↓<br>predicted →</th>",
      matrix.labels.size() > kMatrixLabels / 2 ? " dense" : "", escaped(caption));
  for (const std::string& label : matrix.labels)
    out += fmt::format("<th scope=\"col\" title=\"{0}\"><span>{0}</span></th>", escaped(label));
  out += "<th scope=\"col\" class=\"total\"><span>texts</span></th></tr></thead>\n<tbody>\n";
  for (std::size_t i = 0; i < matrix.labels.size(); ++i) {
    const double texts = matrix.texts(i);
    out += fmt::format("<tr><th scope=\"row\" title=\"{0}\">{0}</th>", escaped(matrix.labels[i]));
    for (std::size_t j = 0; j < matrix.labels.size(); ++j) {
      const double count = matrix.counts[i][j];
      out += fmt::format("<td class=\"cell{}\" style=\"--share:{:.3g}\">{}</td>",
                         i == j ? " right" : "", texts > 0 ? count / texts : 0, fixed(count, 0));
    }
    out += fmt::format("<td class=\"total\">{}</td></tr>\n", fixed(texts, 0));
  }
  return out + "</tbody>\n</table>\n";
}

std::string confusions(const Comparison& comparison) {
  std::string out;
  bool folded = false;
  for (const Entry& entry : comparison.entries) {
    const Json& run = *entry.runs.front();
    const auto matrix =
        read_matrix(at(run, "/test/confusion"), at(comparison.json, "/data/labels"));
    if (!matrix) continue;
    folded = folded || matrix->labels.size() > kMatrixLabels;
    const std::string caption =
        fmt::format("{}, seed {}: {} right", entry.name, plain(at(run, "/seed")),
                    percent(number(run, "/test/accuracy")));
    out +=
        scrolling("Confusion matrix of " + entry.name, matrix_table(condensed(*matrix), caption));
  }
  if (out.empty()) return {};
  return section(
      "confusion", "Which classes are confused",
      "<div class=\"matrices\">\n" + out +
          "</div>\n<p class=\"note\">First seed of each optimizer, on test. Shade: the share of "
          "the row’s texts." +
          std::string(folded ? " Rare labels are counted together." : "") + "</p>\n");
}

// ---- What was run. --------------------------------------------------------------------------

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
                                                      {"Seconds", "/seconds"}};
  for (const auto& [heading, path] : rows) out += fmt::format("<th scope=\"col\">{}</th>", heading);
  out += "</tr></thead>\n<tbody>\n";
  for (const Entry& entry : comparison.entries)
    for (const Json* run : entry.runs) {
      out += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td>", escaped(entry.name),
                         escaped(plain(at(*run, "/seed"))));
      for (const auto& [heading, path] : rows) {
        const double value = number(*run, path);
        out += fmt::format("<td>{}</td>",
                           value == std::floor(value) ? fixed(value, 0) : significant(value, 4));
      }
      out += "</tr>\n";
    }
  return out + "</tbody>\n</table>\n";
}

std::string setup(const Comparison& comparison) {
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

std::string page(const std::string& title, const std::string& content) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{}</style>\n"
      "</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
      escaped(title), kReportStyle, content);
}

}  // namespace

std::string report_html(const Json& json) {
  const Comparison comparison = read(json);
  std::string content = header(comparison);
  if (!comparison.entries.empty()) {
    content += section("results", "Cost and result",
                       scrolling("Cost and result", results(comparison)) + notes(comparison));
    content += section("curves", "How they got there", charts(comparison));
    content += confusions(comparison);
  }
  return page("minima: " + title(comparison), content + setup(comparison));
}

}  // namespace minima

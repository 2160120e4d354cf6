#include <fmt/format.h>

#include <cmath>
#include <map>
#include <ranges>
#include <tuple>

#include "train/report.hpp"
#include "train/report/parts.hpp"

namespace minima::report {
namespace {

constexpr std::size_t kMostFindings = 12;

/// What the others are measured against: adamw, or else the first.
const Entry& baseline(const Comparison& comparison) {
  const auto adamw = std::ranges::find(comparison.entries, "adamw", &Entry::optimizer);
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
/// an upper bound; where either has one seed it is that of the texts alone.
struct AccuracyGap {
  Summary one, other;
  double value, error;

  bool known() const { return std::isfinite(value); }
  bool of_one_seed() const { return std::min(one.count, other.count) == 1; }
  bool resolved() const { return std::abs(value) > error; }
};

AccuracyGap accuracy_gap(const Comparison& comparison, const Entry& entry, const Entry& base) {
  AccuracyGap gap{summarize(entry, "/test/accuracy"), summarize(base, "/test/accuracy"), 0, 0};
  if (gap.of_one_seed()) gap.one.deviation = gap.other.deviation = 0;
  const double texts = test_texts(comparison);
  gap.value = gap.one.mean - gap.other.mean;
  gap.error = std::hypot(standard_error(gap.one, texts), standard_error(gap.other, texts));
  return gap;
}

/// Whether any of its runs has; else its accuracy tells nothing. Of several runs the mean tells how often one does.
bool has_learned(const Entry& entry) {
  return std::ranges::any_of(entry.runs,
                             [](const Json* run) { return one_class_advice(*run).empty(); });
}

/// "learned nothing with 1 of 3 seeds: every text of dev is taken for the same class; …"; empty where all have learned.
std::string nothing_learned(const Entry& entry) {
  std::size_t seeds = 0;
  std::string advice;
  for (const Json* run : entry.runs)
    if (const std::string one = one_class_advice(*run); !one.empty()) advice = one, ++seeds;
  if (seeds == 0) return {};
  return fmt::format("learned nothing{}: every text of dev is taken for the same class; {}",
                     entry.runs.size() == 1
                         ? ""
                         : fmt::format(" with {} of {}", seeds, counted(entry.runs.size(), "seed")),
                     advice);
}

/// Of masked language models, of which the last evaluation is all there is to compare.
std::string perplexity_in_words(const Comparison& comparison, const Entry& entry,
                                const Entry& base) {
  const Summary own = summarize(entry, "/dev/perplexity"),
                other = summarize(base, "/dev/perplexity");
  if (own.count == 0) return "has taken " + steps_in_words(comparison.json, *entry.runs.front());
  return fmt::format("reached a perplexity of {} on dev{}", with_deviation(own, 1),
                     other.count == 0 ? "" : " against " + with_deviation(other, 1));
}

std::string accuracy_in_words(const Comparison& comparison, const Entry& entry, const Entry& base) {
  if (!has_learned(entry)) return nothing_learned(entry);
  if (comparison.masked) return perplexity_in_words(comparison, entry, base);
  const AccuracyGap d = accuracy_gap(comparison, entry, base);
  if (!d.known()) {
    const Entry& untested = d.one.count == 0 ? entry : base;
    return fmt::format("cannot be compared in test accuracy: {} has no test result after {}",
                       &untested == &entry ? "it" : escaped(base.name),
                       steps_in_words(comparison.json, *untested.runs.front()));
  }
  std::string out = fmt::format("reached {} test accuracy", percent(d.one.mean));
  if (!has_learned(base)) return out;  // there is nothing to compare with
  out += fmt::format(" against {}: ", percent(d.other.mean));
  const double points = std::abs(100 * d.value), error = 100 * d.error;
  if (d.value == 0) return out + "no difference";
  out += fmt::format("{} points {}", fixed(points, 1), d.value < 0 ? "lower" : "higher");
  if (d.of_one_seed())
    return out + " with one seed" +
           (error == 0 ? ""
                       : fmt::format(" (the test’s texts alone leave ±\u00a0{})", fixed(error, 1)));
  out += ", ";
  if (error == 0) return out + "of unknown standard error";
  if (!d.resolved())
    return out + fmt::format("within one standard error ({}), so that no difference is resolved",
                             fixed(error, 1));
  return out + fmt::format("{} standard errors", fixed(points / error, 1));
}

std::string state_in_words(const Entry& entry, const Entry& base) {
  const double bytes = summarize(entry, "/state_bytes").mean;
  const double base_bytes = summarize(base, "/state_bytes").mean;
  if (!std::isfinite(bytes) || !std::isfinite(base_bytes)) return {};
  if (base_bytes == 0)
    return fmt::format("kept {} of state{} where {} keeps none and ", megabytes(bytes),
                       before_change(entry), escaped(base.name));
  return fmt::format("kept {}\u00a0% of {}’s state ({} of {}){} and ",
                     significant(100 * bytes / base_bytes, 2), escaped(base.name),
                     significant(bytes / kMegabyte), megabytes(base_bytes), before_change(entry));
}

/// " (not resolved: other programs took up to 1.2 of its cores)", or nothing where the machine was the runs' own.
std::string disturbance(double others) {
  if (others <= kDisturbing) return {};
  return fmt::format(" (not resolved: other programs took up to {} of its cores)",
                     fixed(others, 1));
}

std::string time_in_words(const Comparison& comparison, const Entry& entry, const Entry& base) {
  const double ratio = summarize(entry, "/step_ms").mean / summarize(base, "/step_ms").mean;
  if (!std::isfinite(ratio)) return {};
  return fmt::format(" Its step took {} times as long{}.", fixed(ratio, 2),
                     disturbance(std::max(cores_taken(comparison.json, entry.runs),
                                          cores_taken(comparison.json, base.runs))));
}

std::string finding(const Comparison& comparison, const Entry& entry, const Entry& base) {
  return fmt::format("<strong>{}</strong> {}{}.{}", escaped(entry.name),
                     state_in_words(entry, base), accuracy_in_words(comparison, entry, base),
                     time_in_words(comparison, entry, base));
}

/// What one seed leaves open, where such runs are compared.
std::string caution(const Comparison& comparison, const Entry& entry, const Entry& base) {
  const AccuracyGap d = accuracy_gap(comparison, entry, base);
  return d.known() && d.of_one_seed() && has_learned(entry)
             ? " What another seed changes is not known (compare --seeds 3)."
             : "";
}

std::string failed_finding(const Comparison& comparison, const Entry& entry) {
  const Json& run = *entry.runs.front();
  return fmt::format(
      "<strong>{}</strong> failed{}.", escaped(entry.name),
      at(run, "/train_loss").is_array() ? " after " + steps_in_words(comparison.json, run) : "");
}

std::string single_finding(const Comparison& comparison, const Entry& entry) {
  const Summary test = summarize(entry, "/test/accuracy", 100),
                dev = summarize(entry, "/dev/accuracy", 100);
  const double state = summarize(entry, "/state_bytes").mean,
               milliseconds = summarize(entry, "/step_ms").mean;
  std::vector<std::string> rest;
  if (test.count == 0 && dev.count > 0)  // has not ended, or is no classifier
    rest.push_back(with_deviation(dev, kPercent) +
                   (comparison.masked ? "\u00a0% of the hidden tokens of dev told rightly"
                                      : "\u00a0% accuracy on dev"));
  if (const Summary perplexity = summarize(entry, "/dev/perplexity"); perplexity.count > 0)
    rest.push_back("a perplexity of " + with_deviation(perplexity, 1));
  if (std::isfinite(state))
    rest.push_back(fmt::format("{} of state{}", megabytes(state), before_change(entry)));
  if (std::isfinite(milliseconds))
    rest.push_back(fixed(milliseconds, kMilliseconds) + "\u00a0ms a step" +
                   disturbance(cores_taken(comparison.json, entry.runs)));
  const bool tested = test.count > 0;
  const std::string did =
      tested ? fmt::format("reached {}\u00a0% test accuracy", with_deviation(test, kPercent))
             : "has taken " + steps_in_words(comparison.json, *entry.runs.front());
  return fmt::format("<strong>{}</strong> {}{}{}.", escaped(entry.name), did,
                     rest.empty() ? ""
                     : tested     ? " with "
                                  : ": ",
                     joined(rest, " and "));
}

/// Puts them in order: the least state first among those that save some and are not resolved to be less accurate; then the
/// most accurate of those that save some, and of all others. What learned nothing comes last.
void rank(std::vector<const Entry*>& others, const Comparison& comparison, const Entry& base) {
  const double base_bytes = summarize(base, "/state_bytes").mean;
  std::ranges::stable_sort(others, {}, [&](const Entry* entry) {
    const AccuracyGap d = accuracy_gap(comparison, *entry, base);
    const double bytes = summarize(*entry, "/state_bytes").mean;
    const bool saves = bytes < base_bytes, accurate = d.value >= -d.error,
               learned = has_learned(*entry);
    return std::tuple(!learned, !saves, !accurate,
                      saves && accurate ? bytes
                      : d.known()       ? -d.value
                                        : 1);
  });
}

std::string verdict(const Comparison& comparison) {
  const Entry& base = baseline(comparison);
  std::vector<const Entry*> others;
  for (const Entry& entry : comparison.entries)
    if (&entry != &base) others.push_back(&entry);
  const bool learned = has_learned(base);
  if (learned) rank(others, comparison, base);
  std::vector<std::string> findings;
  if (!learned)
    findings.push_back(fmt::format("<strong>{}</strong> {}.{}", escaped(base.name),
                                   nothing_learned(base),
                                   others.empty() ? "" : " Its accuracy is not compared."));
  else if (!comparison.all_failed() && others.empty())
    findings.push_back(single_finding(comparison, base));
  else if (!comparison.all_failed())
    findings.push_back(finding(comparison, *others.front(), base) +
                       caution(comparison, *others.front(), base));
  for (const Entry& entry : comparison.failed)
    findings.push_back(failed_finding(comparison, entry));
  // What the table does not tell, and of whom.
  std::map<std::string, std::vector<std::string>> by_some_seeds;
  for (const Entry& entry : comparison.entries)
    if (has_learned(entry))
      by_some_seeds[nothing_learned(entry)].push_back(
          fmt::format("<strong>{}</strong>", escaped(entry.name)));
  by_some_seeds.erase("");
  for (const auto& [said, names] : by_some_seeds)
    findings.push_back(fmt::format("{} {}.", joined(names, " and "), said));
  if (!comparison.all_failed())
    for (const Entry* entry : others | std::views::drop(learned ? 1 : 0))
      findings.push_back(finding(comparison, *entry, base));
  if (findings.size() > kMostFindings) {
    const std::size_t more = findings.size() - kMostFindings;
    findings.resize(kMostFindings);
    findings.push_back(fmt::format("The table has {}.", counted(more, "further finding")));
  }
  const double yardstick = number(comparison.json, "/data/bag_of_words/test");
  if (std::isfinite(yardstick))
    findings.push_back(fmt::format(
        "For scale: a naive-Bayes bag of words reaches {} on the same texts.", percent(yardstick)));
  std::string rest;
  for (std::size_t i = 1; i < findings.size(); ++i)
    rest += fmt::format("<li>{}</li>\n", findings[i]);
  return fmt::format("<p class=\"verdict\">{}</p>\n", findings.front()) +
         (rest.empty() ? "" : "<ul class=\"findings\">\n" + rest + "</ul>\n");
}

/// Whether what a run lacks is that it learned nothing, which the findings say.
bool is_told_above(const Comparison& comparison, const std::string& lack) {
  for (const Json& run : at(comparison.json, "/runs"))
    if (const std::string flaw = always_one_class(run); !flaw.empty() && lack.ends_with(flaw))
      return true;
  return false;
}

/// "3 runs of adamw", where they are called by their folders.
std::string runs_in_words(const Comparison& comparison) {
  const Json &runs = at(comparison.json, "/runs"), &failed = at(comparison.json, "/failed");
  const std::string optimizer = comparison.entries.front().optimizer;
  const auto alike = [&](const std::vector<Entry>& entries) {
    return std::ranges::all_of(entries, [&](const Entry& e) { return e.optimizer == optimizer; });
  };
  return counted(runs.size() + failed.size(), "run") +
         (alike(comparison.entries) && alike(comparison.failed) ? " of " + optimizer : "");
}

}  // namespace

bool tells_error(const Comparison& comparison) {
  const Entry& base = baseline(comparison);
  return has_learned(base) && std::ranges::any_of(comparison.entries, [&](const Entry& entry) {
           const AccuracyGap d = accuracy_gap(comparison, entry, base);
           return &entry != &base && has_learned(entry) && d.known() && d.value != 0 && d.error > 0;
         });
}

std::string title(const Comparison& comparison) {
  std::vector<std::string> names;
  for (const Entry& entry : comparison.entries)
    if (entry.failure.empty()) names.push_back(entry.name);
  for (const Entry& entry : comparison.failed) names.push_back(entry.name + " (failed)");
  const std::string what = names.empty()         ? "No runs"
                           : comparison.by_label ? runs_in_words(comparison)
                           : names.size() <= 4   ? joined(names, " and ")
                                                 : counted(names.size(), "optimizer");
  const std::string data = text(comparison.json, "/data/name");
  return data.empty() ? what : what + " on " + data;
}

std::string header(const Comparison& comparison) {
  const Json& json = comparison.json;
  std::vector<std::string> facts = {"minima"};
  const double parameters = number(json, "/model/parameters");
  if (const std::string model = text(json, "/model/name"); !model.empty())
    facts.push_back(
        (comparison.masked ? "masked language model " : "model ") + model +
        (std::isfinite(parameters) ? fmt::format(", {} parameters", fixed(parameters, 0)) : ""));
  if (std::isfinite(number(json, "/data/train")))
    facts.push_back(fixed(number(json, "/data/train"), 0) + " training texts");
  if (comparison.seeds > 0) facts.push_back(counted(comparison.seeds, "seed"));
  std::string kicker;
  for (const std::string& fact : facts) kicker += (kicker.empty() ? "" : " · ") + fact;
  std::string lacks;
  for (const std::string& one : what_it_lacks(json))
    if (!is_told_above(comparison, one))
      lacks += fmt::format("<p class=\"note\">{}.</p>\n", escaped(one));
  return fmt::format("<header>\n<p class=\"kicker\">{}</p>\n<h1>{}</h1>\n{}{}</header>\n",
                     escaped(kicker), escaped(title(comparison)),
                     comparison.entries.empty()
                         ? "<p class=\"verdict\">There is nothing to compare.</p>\n"
                         : verdict(comparison),
                     lacks);
}

}  // namespace minima::report

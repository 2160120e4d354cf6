#include <fmt/format.h>

#include <cmath>
#include <map>

#include "train/report/parts.hpp"

namespace minima::report {
namespace {

constexpr std::size_t kAlarmsShown = 8, kAlarmsListed = 40;  // at first, and when asked for

double clipped_steps(const Comparison& comparison) {
  double steps = 0;
  for (const Entry& entry : comparison.entries)
    for (const Json* run : entry.runs)
      for (const double clipped : numbers(at(*run, "/clipped"))) steps += clipped;
  return steps;
}

std::string norm_chart(const Comparison& comparison) {
  std::vector<chart::Rule> rules;
  const double clip = number(comparison.json, "/training/clip_norm");
  if (clip > 0) rules.push_back({"clipped above " + shortest(clip), clip});
  return step_chart(
      comparison, {.key = "/grad_norm",
                   .heading = "Norm of the gradient",
                   .label = {"grad-norm", "Norm of the gradient by step", "After the last step: "},
                   .y = {"norm"},
                   .caption = clipped_steps(comparison) > 0
                                  ? "Of all parameters together, before it is clipped."
                                  : "Of all parameters together. No step was clipped.",
                   .rules = rules});
}

std::string clipped_chart(const Comparison& comparison) {
  std::vector<std::string> shares;
  for (const Entry& entry : comparison.entries) {
    const Summary s = summarize(entry, "/clipped_share");
    if (s.count > 0) shares.push_back(entry.name + " " + percent(s.mean));
  }
  if (shares.empty() || clipped_steps(comparison) == 0) return {};
  const std::string in_all = "In all: " + joined(shares) + ".";
  return step_chart(comparison, {.key = "/clipped",
                                 .heading = "Steps clipped by norm",
                                 .label = {"clipped", "Share of steps that were clipped, by step",
                                           in_all + " At the end, in percent: "},
                                 .y = {"% of the steps"},
                                 .caption = in_all,
                                 .share = true});
}

/// The tensors of a run that was watched.
struct Watched {
  std::vector<double> steps;
  struct Tensor {
    std::string name;
    std::vector<double> ratio, step_size;
    double update_clipped;
  };
  std::vector<Tensor> tensors;
};

Watched read_watched(const Json& run) {
  Watched watched{numbers(at(run, "/watched/steps")), {}};
  for (const Json& tensor : at(run, "/watched/tensors")) {
    Watched::Tensor read{text(tensor, "/name"), numbers(at(tensor, "/ratio")),
                         numbers(at(tensor, "/step_size")), number(tensor, "/update_clipped")};
    read.ratio.resize(watched.steps.size(), kNaN);
    read.step_size.resize(watched.steps.size(), kNaN);
    watched.tensors.push_back(std::move(read));
  }
  const auto known = [](double step) { return std::isfinite(step); };
  if (watched.steps.empty() || !std::ranges::all_of(watched.steps, known)) watched.tensors.clear();
  return watched;
}

std::vector<double> finite(std::vector<double> values) {
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  return values;
}

double finite_median(const std::vector<double>& values) {
  std::vector<double> kept = finite(values);
  return kept.empty() ? kNaN : median(std::move(kept));
}

std::string step_size_chart(const Comparison& comparison) {
  std::vector<chart::Series> series;
  std::vector<double> all;
  for (const Entry& entry : comparison.entries) {
    const Watched watched = read_watched(*entry.runs.front());
    std::vector<chart::Point> line;
    for (std::size_t i = 0; i < watched.steps.size(); ++i) {
      std::vector<double> sizes;
      for (const auto& tensor : watched.tensors) sizes.push_back(tensor.step_size[i]);
      line.push_back({watched.steps[i], finite_median(sizes)});
      all.push_back(line.back().y);
    }
    series.push_back({entry.name, entry.style, std::move(line)});
  }
  if (finite(all).empty())  // nothing was watched
    return step_chart(comparison,
                      {.key = "/lr_factor",
                       .heading = "Learning rate",
                       .label = {"step-size", "Learning rate by step", "At the end, in percent: "},
                       .y = {"% of the full rate"},
                       .caption = "What the schedule makes of it.",
                       .share = true});
  const std::vector<chart::Mark> marks = change_marks(comparison);
  std::vector<std::string> last;
  for (const chart::Series& s : series)
    last.push_back(s.name + " " + significant(s.line.empty() ? kNaN : s.line.back().y));
  return figure(
      "Step size",
      chart::lines({"step-size", "Step size by step", "At the end: " + joined(last)},
                   {"step", chart::Scale::linear, chart::Ticks::whole},
                   {"median over tensors", scale_for(all, 30)}, series, {}, marks),
      std::string("The learning rate of the step; of Adafactor its own α, which grows with the "
                  "weights.") +
          (comparison.seeds > 1 ? " First seed." : "") + marks_caption(marks));
}

std::string per_tensor_table(const Entry& entry, const Watched& watched) {
  std::string rows;
  for (const auto& tensor : watched.tensors) {
    std::size_t largest = 0;
    for (std::size_t i = 0; i < tensor.ratio.size(); ++i)
      if (!(tensor.ratio[i] <= tensor.ratio[largest]) && std::isfinite(tensor.ratio[i]))
        largest = i;
    const bool any = !finite(tensor.ratio).empty();
    rows += row(
        escaped(tensor.name),
        {significant(finite_median(tensor.ratio)), significant(any ? tensor.ratio[largest] : kNaN),
         fixed(any ? watched.steps[largest] : kNaN, 0),
         significant(finite_median(tensor.step_size)),
         std::isfinite(tensor.update_clipped) ? percent(tensor.update_clipped)
                                              : std::string(kMissing)});
  }
  return table("numbers", escaped(entry.name),
               {"Tensor", "Ratio, median", "Largest", "At step", "Step size, median",
                "Updates clipped by the rule"},
               rows);
}

/// Rows of one part of the model together, in the order of their first ones: an optimizer's groups
/// part weights from biases.
void gather(std::vector<chart::HeatRow>& rows) {
  std::map<std::string, std::size_t> order;
  for (const chart::HeatRow& row : rows) order.emplace(row.group, order.size());
  std::ranges::stable_sort(rows, {}, [&](const chart::HeatRow& row) { return order[row.group]; });
}

struct Shown {
  const Entry& entry;
  Watched watched;
};

std::string heat_maps(const Comparison& comparison) {
  std::vector<Shown> shown;
  double low = kNaN, high = kNaN;
  for (const Entry& entry : comparison.entries) {
    shown.push_back({entry, read_watched(*entry.runs.front())});
    for (const auto& tensor : shown.back().watched.tensors)
      for (const double ratio : tensor.ratio)
        if (std::isfinite(ratio) && ratio > 0)
          low = std::isfinite(low) ? std::min(low, ratio) : ratio,
          high = std::isfinite(high) ? std::max(high, ratio) : ratio;
  }
  if (!std::isfinite(low)) return {};

  std::string maps, tables;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const auto& [entry, watched] = shown[i];
    if (watched.tensors.empty()) continue;
    std::vector<chart::HeatRow> rows;
    std::vector<double> all;
    double largest = -1, at_step = 0;
    std::string where;
    for (const auto& tensor : watched.tensors) {
      rows.push_back({part_of(tensor.name), tensor.name, tensor.ratio});
      for (std::size_t k = 0; k < tensor.ratio.size(); ++k) {
        if (!std::isfinite(tensor.ratio[k])) continue;
        all.push_back(tensor.ratio[k]);
        if (tensor.ratio[k] > largest)
          largest = tensor.ratio[k], at_step = watched.steps[k], where = tensor.name;
      }
    }
    gather(rows);
    const std::string words =
        all.empty() ? "no ratio is known"
                    : fmt::format("{} at {}; median {}, largest {} of {} in step {}",
                                  counted(watched.tensors.size(), "tensor"),
                                  counted(watched.steps.size(), "step"), significant(median(all)),
                                  significant(largest), where, fixed(at_step, 0));
    maps += figure(
        escaped(entry.name),
        chart::heat_map({fmt::format("ratio-{}", i),
                         "Update-to-weight ratio by tensor and step, " + entry.name, words},
                        {"step", chart::Scale::linear, chart::Ticks::whole},
                        "RMS of the update / RMS of the weight", watched.steps, rows, low, high),
        words + ".");
    tables += details(fmt::format("{}, {}", entry.name, counted(watched.tensors.size(), "tensor")),
                      scrolling("Ratios of " + entry.name, per_tensor_table(entry, watched)),
                      Print::folded);
  }
  return "<h3>How far each tensor moved beside its size</h3>\n<div class=\"charts maps\">\n" +
         maps +
         "</div>\n<p class=\"note\">A row for each tensor, first seed; the largest ratio of each "
         "column’s steps. Blank: not watched, or it did not move. About 10⁻³ is usual.</p>\n" +
         tables;
}

std::string alarm_list(const Comparison& comparison) {
  std::vector<std::string> alarms;
  bool told = false, watched = true;  // some run's steps; every such run's tensors
  const auto add = [&](const std::string& name, const Json& run) {
    if (!at(run, "/alarms").is_array()) return;
    told = true;
    watched &= !at(run, "/watched/steps").empty();
    for (const Json& alarm : at(run, "/alarms"))
      alarms.push_back(
          fmt::format("{}, seed {}: {}", name, plain(at(run, "/seed")), text(alarm, "/text")));
  };
  for (const Entry& entry : comparison.entries)
    if (entry.failure.empty())
      for (const Json* run : entry.runs) add(entry.name, *run);
  const std::vector<const Json*> failed = failures(comparison.json);
  for (const Json* run : failed) add(run_name(*run), *run);
  if (alarms.empty())
    return !told || !failed.empty() ? ""
           : watched ? "<p>No alarm: no tensor’s update and no gradient spiked. (Tensors below "
                       "10⁻³, such as biases that are hardly above zero, may move by many times "
                       "their size.)</p>\n"
                     : "<p>No alarm: no gradient spiked. (Not in every run a tensor was "
                       "watched.)</p>\n";
  const auto list = [&](std::size_t begin, std::size_t end) {
    std::string items;
    for (std::size_t i = begin; i < std::min(alarms.size(), end); ++i)
      items += fmt::format("<li>{}</li>\n", escaped(alarms[i]));
    if (begin > 0 && alarms.size() > end)
      items += fmt::format("<li>and {} more</li>\n", alarms.size() - end);
    return "<ul>\n" + items + "</ul>\n";
  };
  std::string out = fmt::format("<div class=\"alarms\" role=\"note\">\n<h3>{}</h3>\n{}",
                                counted(alarms.size(), "alarm"), list(0, kAlarmsShown));
  if (alarms.size() > kAlarmsShown)
    out += details(fmt::format("{} more", alarms.size() - kAlarmsShown),
                   list(kAlarmsShown, kAlarmsListed));
  return out + "</div>\n";
}

/// What each change of the optimizer did with the state: slots with the same origin and way once.
std::string switch_list(const Comparison& comparison) {
  std::string out;
  for (const Entry& entry : comparison.entries)
    for (const Json& record : at(*entry.runs.front(), "/switches")) {
      std::vector<std::pair<std::vector<std::string>, std::size_t>> lines;
      for (const Json& slot : at(record, "/slots")) {
        const std::string note = text(slot, "/note");
        const auto named = [&](const char* path) {
          const std::string name = text(slot, path);
          return name.empty() ? std::string(kMissing) : name;
        };
        const std::vector<std::string> line{named("/slot"), named("/from"),
                                            text(slot, "/how") + (note.empty() ? "" : ": " + note)};
        const auto found =
            std::ranges::find_if(lines, [&](const auto& known) { return known.first == line; });
        if (found == lines.end())
          lines.emplace_back(line, 1);
        else
          ++found->second;
      }
      const double warmup = number(record, "/warmup");
      const std::string caption = fmt::format(
          "{}after step {}: {} → {}{}",
          comparison.entries.size() > 1 ? escaped(entry.name) + ", " : "",
          fixed(number(record, "/step"), 0), escaped(text(record, "/from")),
          escaped(text(record, "/to")),
          warmup > 0
              ? fmt::format("; the learning rate rises again over {} steps", fixed(warmup, 0))
              : "");
      std::string rows;
      for (const auto& [line, count] : lines)
        rows +=
            row(escaped(line[0]), {escaped(line[1]), escaped(line[2]), fmt::format("{}", count)});
      out += scrolling("Change of the optimizer",
                       table("numbers words", caption, {"Slot", "From", "How", "Tensors"}, rows));
    }
  return out.empty() ? out : "<h3>Changes of the optimizer</h3>\n" + out;
}

}  // namespace

std::string watching_section(const Comparison& comparison) {
  const std::string charts =
      norm_chart(comparison) + clipped_chart(comparison) + step_size_chart(comparison);
  const std::string content =
      alarm_list(comparison) +
      (charts.empty() ? "" : "<div class=\"charts\">\n" + charts + "</div>\n") +
      heat_maps(comparison) + switch_list(comparison);
  return content.empty() ? "" : section("watching", "How far they stepped", content);
}

}  // namespace minima::report

#include <fmt/format.h>

#include <cmath>

#include "train/report/parts.hpp"
#include "train/trainer.hpp"

namespace minima::report {
namespace {

/// A score of the evaluations on dev.
struct Score {
  const char *id, *heading, *path, *unit;  // none: the loss's
  double factor;
  int decimals;
  const char* yardstick = "";  ///< of the bag of words
};

constexpr Score kScores[] = {{"accuracy", "Accuracy on dev", "/dev/accuracy", "% right", 100,
                              kPercent, "/data/bag_of_words/dev"},
                             {"f1", "Macro-F1 on dev", "/dev/macro_f1", "%", 100, kPercent},
                             {"dev-loss", "Loss on dev", "/dev/loss", "", 1, kLoss}};

bool took_all_steps(const Json& run) { return text(run, "/stop") == stop_name(Stop::finished); }

/// One evaluation an epoch, everywhere: then curves go over epochs, else over steps.
bool once_an_epoch(const Comparison& comparison) {
  for (const Entry& entry : comparison.entries)
    for (const Json* run : entry.runs) {
      double epoch = 0;
      for (const Json& evaluation : at(*run, "/epochs"))
        if (number(evaluation, "/epoch") != ++epoch) return false;
    }
  return true;
}

/// The last step of runs that took all their steps: of batches of tokens each seed has a few more or less of them.
double last_step(const Entry& entry) {
  double last = 0;
  for (const Json* run : entry.runs)
    if (const Json& all = at(*run, "/epochs"); took_all_steps(*run) && !all.empty())
      last = std::max(last, number(all.back(), "/step"));
  return last;
}

std::string score_chart(const Comparison& comparison, const Score& score) {
  const bool by_epoch = once_an_epoch(comparison);
  const char* const unit_of_x = by_epoch ? "epoch" : "step";
  std::vector<chart::Series> series;
  bool any = false;
  for (const Entry& entry : comparison.entries) {
    std::vector<std::vector<double>> runs, positions;
    const double last = last_step(entry);
    for (const Json* run : entry.runs) {
      runs.emplace_back(), positions.emplace_back();
      for (const Json& evaluation : at(*run, "/epochs")) {
        const double place = number(evaluation, by_epoch ? "/epoch" : "/step");
        if (!std::isfinite(place)) continue;
        runs.back().push_back(score.factor * number(evaluation, score.path));
        positions.back().push_back(place);
        any = any || std::isfinite(runs.back().back());
      }
      if (!by_epoch && took_all_steps(*run) && !runs.back().empty()) positions.back().back() = last;
    }
    Curve curve = over_seeds(runs, positions);
    if (score.factor == 100)
      for (chart::Interval& i : curve.band)
        i.low = std::max(i.low, 0.0), i.high = std::min(i.high, 100.0);
    for (chart::Point& p : curve.line)
      p.tip = fmt::format("{}, {} {}: {} {}", entry.name, unit_of_x, p.x,
                          fixed(p.y, score.decimals), score.factor == 100 ? "%" : "");
    series.push_back({entry.name, entry.style, std::move(curve.line), {}, std::move(curve.band)});
  }
  if (!any) return {};
  const bool in_masked = comparison.masked && std::string_view(score.id) == "accuracy";
  const char* const unit = in_masked     ? "% of hidden tokens told rightly"
                           : *score.unit ? score.unit
                                         : loss_unit(comparison);
  std::vector<chart::Rule> rules;
  const double yardstick = *score.yardstick ? number(comparison.json, score.yardstick) : kNaN;
  if (std::isfinite(yardstick))
    rules.push_back({"bag of words " + percent(yardstick), 100 * yardstick});
  const std::vector<chart::Mark> marks =
      by_epoch ? std::vector<chart::Mark>{} : change_marks(comparison);
  return figure(score.heading,
                chart::lines({score.id, fmt::format("{} by {}", score.heading, unit_of_x),
                              "At the end: " + ends(series, score.decimals)},
                             {unit_of_x, chart::Scale::linear, chart::Ticks::whole}, {unit}, series,
                             rules, marks),
                (by_epoch ? "After each epoch." : "At each evaluation.") +
                    bands_caption(comparison) + marks_caption(marks));
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
    if (std::isfinite(size.mean) && std::isfinite(accuracy.mean))
      clouds.push_back(std::move(cloud));
  }
  if (clouds.size() < 2) return {};  // there is nothing to weigh
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
                      const char* path, double factor, int decimals, const std::string& unit) {
  std::vector<chart::Bar> bars;
  std::vector<std::string> words;
  for (const Entry& entry : comparison.entries) {
    const Summary s = summarize(entry, path, factor);
    const std::string value = with_deviation(s, decimals) + "\u00a0" + unit;
    bars.push_back({entry.name, entry.style, s.mean, s.deviation, value});
    words.push_back(entry.name + " " + value);
  }
  return chart::bars({id, title, joined(words)}, bars);
}

std::string cost_chart(const Comparison& comparison) {
  const bool peak = is_shown(comparison, "/peak_bytes");
  return figure("Time of a step",
                cost_bars(comparison, "step-time", "Median time of a step", "/step_ms", 1,
                          kMilliseconds, "ms") +
                    (peak ? "<h3>Peak memory</h3>\n" +
                                cost_bars(comparison, "peak-memory", "Peak memory in training",
                                          "/peak_bytes", 1 / kMegabyte, kPeak, "MB")
                          : ""),
                std::string("Forward, backward and update") +
                    (peak ? "; weights, gradients, activations and state." : "."));
}

}  // namespace

std::string curves_section(const Comparison& comparison) {
  std::string charts =
      step_chart(comparison, {.key = "/train_loss",
                              .heading = "Training loss",
                              .label = {"loss", "Training loss by step", "After the last step: "},
                              .y = {loss_unit(comparison)},
                              .caption = "Of each step's batches.",
                              .span = 200});
  for (const Score& score : kScores) charts += score_chart(comparison, score);
  return section("curves", "How they got there",
                 "<div class=\"charts\">\n" + charts + trade_off_chart(comparison) +
                     cost_chart(comparison) + "</div>\n");
}

}  // namespace minima::report

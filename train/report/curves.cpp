#include <fmt/format.h>

#include <cmath>

#include "train/report/parts.hpp"

namespace minima::report {
namespace {

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

}  // namespace

std::string curves_section(const Comparison& comparison) {
  return section("curves", "How they got there",
                 "<div class=\"charts\">\n" + loss_chart(comparison) + accuracy_chart(comparison) +
                     trade_off_chart(comparison) + cost_chart(comparison) + "</div>\n");
}

}  // namespace minima::report

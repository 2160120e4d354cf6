#include "train/find_lr.hpp"

#include <cmath>

#include "core/ops/matmul.hpp"
#include "optim/options.hpp"
#include "optim/registry.hpp"
#include "train/chart.hpp"
#include "train/html.hpp"
#include "train/interrupt.hpp"
#include "train/report.hpp"
#include "train/report/parts.hpp"

namespace minima {
namespace {

constexpr double kSmoothing = 0.9;  // of the running mean
constexpr double kBlownUp = 3;      // times the least loss: there is nothing more to see
constexpr std::size_t kReach = 4;   // rates on each side of a slope
constexpr double kSafety = 10;
constexpr std::string_view kHowSuggested =
    "Suggested: where the loss falls steepest, at most a tenth of the rate where it is lowest.";
constexpr double kLeastFall = 0.01;  // of the loss
constexpr std::string_view kTooFlat =
    "The loss falls by less than a hundredth: this suggestion says little. Try another batch or "
    "model.";

/// Puts the values of parameters back when it goes, and clears their gradients.
class AsTheyWere {
 public:
  explicit AsTheyWere(const std::vector<Parameter*>& parameters) : parameters_(parameters) {
    for (const Parameter* parameter : parameters) values_.push_back(parameter->value.clone());
  }
  ~AsTheyWere() {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      parameters_[i]->value.copy_from(values_[i]);
      parameters_[i]->gradient.clear();
    }
  }
  AsTheyWere(const AsTheyWere&) = delete;
  AsTheyWere& operator=(const AsTheyWere&) = delete;

 private:
  std::vector<Parameter*> parameters_;
  std::vector<Tensor> values_;
};

std::size_t steepest_of(const std::vector<double>& rates, const std::vector<double>& losses,
                        std::size_t lowest) {
  std::size_t best = 0;
  double least = 0;
  for (std::size_t i = kReach; i + kReach < rates.size() && i <= lowest; ++i) {
    const double slope =
        (losses[i + kReach] - losses[i - kReach]) / std::log(rates[i + kReach] / rates[i - kReach]);
    if (slope < least) least = slope, best = i;
  }
  return best;
}

}  // namespace

std::string with_learning_rate(const std::string& spec, double lr) {
  auto [name, options] = parse_spec(spec);
  std::erase_if(options, [](const auto& option) { return option.first == "lr"; });
  options.emplace_back("lr", fmt::format("{:.3g}", lr));
  return name + ":" + to_string(options);
}

std::optional<double> learning_rate(const std::string& spec) {
  const auto [name, options] = parse_spec(spec);
  const std::string* const lr = find_option(options, "lr");
  return lr && *lr != "none" ? std::optional(parse_number(name, "lr", *lr)) : std::nullopt;
}

void refuse_own_rates(const std::vector<GroupPattern>& groups, const char* what) {
  for (const GroupPattern& group : groups)
    for (const auto& [key, value] : parse_options(group.options))
      check(key != "lr" || value == "none",
            "{} and --group {}:lr={} exclude one another: the group would keep its learning rate "
            "at each that is tried; leave its lr out",
            what, group.pattern, value);
}

LearningRateCurve find_learning_rate(const Objective& objective, const std::string& spec,
                                     const TrainingOptions& options,
                                     const LearningRateSearch& search) {
  check(search.least > 0 && search.least < search.most && search.steps >= 20,
        "find-lr: from {} to {} in {} steps; it must rise, in at least 20 steps", search.least,
        search.most, search.steps);
  check(resolve(spec).rule->lr().has_value(),
        "find-lr: {} makes its own step size; give relative_step=false to search one", spec);
  check(!options.update_in_backward,
        "find-lr: with update-in-backward; its rates are those of steps after backward, which have "
        "the same bits: leave the option out here");
  const std::string unit = with_learning_rate(spec, 1);
  Optimizer optimizer = make_optimizer(unit, parameter_groups(objective.parameters, unit, options));
  for (const Parameter* parameter : objective.parameters)
    check_precision(options.precision, parameter->value.device());
  std::optional<AsTheyWere> parameters(objective.parameters);

  LearningRateCurve curve{spec, {}, {}, {}, 0, 0, 0};
  const double ratio =
      std::pow(search.most / search.least, 1 / static_cast<double>(search.steps - 1));
  std::vector<std::vector<i64>> batches;
  std::size_t next = 0;
  i64 epoch = 0;
  double rate = search.least, mean = 0, weight = 0, least = 0;
  double scale = LossScale(options.precision, options.non_finite).value;
  for (i64 step = 1; step <= search.steps; ++step, rate *= ratio) {
    if (InterruptRequests::received()) fail_at_run_time("find-lr: interrupted");
    if (next == batches.size()) batches = objective.batches(epoch++), next = 0;
    const nn::Pass pass{.training = true,
                        .seed = options.seed,
                        .step = step,
                        .checkpoint_layers = options.checkpoint_layers,
                        .precision = product_type(options.precision)};
    std::optional<ops::AllowTf32> rounding;
    if (options.precision == Precision::tf32) rounding.emplace();
    const BatchLoss batch = objective.loss(batches[next], pass);
    const double loss = batch.loss.value().item();
    if (!std::isfinite(loss)) break;
    const Tensor& value = batch.loss.value();
    batch.loss.backward(Tensor::full(value.shape(), scale, value.dtype(), value.device()));
    rounding.reset();
    const StepReport report = optimizer
                                  .step({.lr_factor = rate,
                                         .clip_norm = options.clip_norm,
                                         .clip_value = options.clip_value,
                                         .gradient_scale = 1 / scale,
                                         .skip_non_finite = true})
                                  .read();
    for (Parameter* parameter : objective.parameters) parameter->gradient.clear();
    if (report.skipped && scale > 1) {  // too large for fp16: the same step once more
      scale /= 2, rate /= ratio, --step;
      continue;
    }
    ++next;
    // A running mean, corrected for its start from 0 as Adam's moments are.
    mean = kSmoothing * mean + (1 - kSmoothing) * loss;
    weight = kSmoothing * weight + (1 - kSmoothing);
    curve.rates.push_back(rate);
    curve.losses.push_back(loss);
    curve.smoothed.push_back(mean / weight);
    least = step == 1 ? loss : std::min(least, mean / weight);
    if (mean / weight > kBlownUp * least || report.skipped) break;
  }
  parameters.reset();

  const auto lowest =
      static_cast<std::size_t>(std::ranges::min_element(curve.smoothed) - curve.smoothed.begin());
  const std::size_t steepest = steepest_of(curve.rates, curve.smoothed, lowest);
  if (steepest == 0)
    fail_training("find-lr: no rate from {} to {} lowers the loss of {}", search.least, search.most,
                  spec);
  curve.lowest = curve.rates[lowest];
  curve.steepest = curve.rates[steepest];
  curve.suggestion = std::min(curve.steepest, curve.lowest / kSafety);
  return curve;
}

bool LearningRateCurve::tells() const {
  const auto lowest = std::ranges::min_element(smoothed);
  return *lowest < (1 - kLeastFall) * *std::max_element(smoothed.begin(), lowest + 1);
}

std::string LearningRateCurve::text() const {
  constexpr std::size_t kLines = 20;
  constexpr double kWidth = 48;
  const double low = std::ranges::min(smoothed), high = highest_drawn({*this});
  std::string lines =
      fmt::format("{}: suggested lr {:.2g} (steepest at {:.2g}, lowest at {:.2g})\n{}\n", spec,
                  suggestion, steepest, lowest, kHowSuggested);
  if (!tells()) lines += std::string(kTooFlat) + "\n";
  lines += fmt::format("  {:>8}  {:>7}  from {:.3f} to {:.3f}\n", "lr", "loss", low, high);
  const std::size_t every = std::max<std::size_t>(1, (rates.size() + kLines - 1) / kLines);
  for (std::size_t i = 0; i < rates.size(); i += every) {
    std::string bar;
    const double share = high > low ? std::min(1.0, (smoothed[i] - low) / (high - low)) : 0;
    for (int cell = 0; cell < std::lround(kWidth * share); ++cell) bar += "█";
    lines += fmt::format("  {:8.2g}  {:7.3f}  {}{}\n", rates[i], smoothed[i], bar,
                         smoothed[i] > high ? " …" : "");
  }
  return lines;
}

Json LearningRateCurve::to_json() const {
  return {
      {"spec", spec},         {"rates", rates},   {"losses", losses},        {"smoothed", smoothed},
      {"steepest", steepest}, {"lowest", lowest}, {"suggestion", suggestion}};
}

double highest_drawn(const std::vector<LearningRateCurve>& curves) {
  double highest = 0, fall = 0;
  for (const LearningRateCurve& curve : curves) {
    const auto lowest = std::ranges::min_element(curve.smoothed);
    const double before = *std::max_element(curve.smoothed.begin(), lowest + 1);
    highest = std::max(highest, before);
    fall = std::max(fall, before - *lowest);
  }
  return highest + fall;
}

std::string find_lr_page(const std::vector<LearningRateCurve>& curves) {
  std::vector<chart::Series> series;
  std::string rows, words, flat;
  bool cut = false;
  const double most = highest_drawn(curves);
  for (const LearningRateCurve& curve : curves) {
    chart::Series one;
    one.name = report::without_options(curve.spec);
    one.style = static_cast<int>(series.size());
    for (std::size_t i = 0; i < curve.rates.size(); ++i) {
      one.line.push_back({curve.rates[i], std::min(curve.smoothed[i], most)});
      if (curve.smoothed[i] <= most) continue;
      cut = true;
      break;
    }
    series.push_back(std::move(one));
    if (!curve.tells())
      flat += fmt::format("<p class=\"note\">{}: {}</p>\n", html::escaped(curve.spec), kTooFlat);
    words += fmt::format("{} suggests {:.2g}. ", curve.spec, curve.suggestion);
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td>{:.2g}</td><td>{:.2g}</td><td>{:.2g}</td></tr>\n",
        html::escaped(curve.spec), curve.suggestion, curve.steepest, curve.lowest);
  }
  return report_page(
      "minima: learning rates",
      "<h1>Learning rates</h1>\n" +
          report::figure("Loss while the learning rate rises",
                         chart::lines({"find-lr", "Loss while the learning rate rises", words},
                                      {.title = "learning rate", .scale = chart::Scale::log},
                                      {.title = "loss, smoothed"}, series),
                         cut ? fmt::format("A curve ends where it passes {:.3g}: from there on it "
                                           "only blows up.",
                                           most)
                             : "") +
          "<table>\n<thead><tr><th scope=\"col\">optimizer</th><th "
          "scope=\"col\">suggested</th><th scope=\"col\">steepest</th><th "
          "scope=\"col\">lowest</th></tr></thead>\n<tbody>\n" +
          rows + "</tbody>\n</table>\n<p class=\"note\">" + std::string(kHowSuggested) + "</p>\n" +
          flat);
}

}  // namespace minima

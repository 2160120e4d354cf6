#include "train/watch.hpp"

#include <cmath>

#include "train/metrics.hpp"

namespace minima {

double update_ratio(const TensorReport& tensor) {
  return tensor.weight_rms == 0 ? std::numeric_limits<double>::quiet_NaN()
                                : tensor.update_rms / tensor.weight_rms;
}

std::string Alarm::text() const {
  const std::string who = of == Of::ratio  ? tensor
                          : of == Of::loss ? "the loss"
                                           : "the norm of the gradient";
  if (!std::isfinite(value)) return fmt::format("step {}: {} is not finite", step, who);
  const std::string what =
      fmt::format("step {}: {} {} {:.3g}{}", step, who, of == Of::ratio ? "moves by" : "is", value,
                  of == Of::ratio ? " of its size" : "");
  return usual > 0 && std::isfinite(value / usual)
             ? fmt::format("{}, {:.3g} times the usual {:.3g}", what, value / usual, usual)
             : what;
}

Json Alarm::to_json() const {
  return {
      {"step", step},     {"of", of == Of::ratio ? "ratio" : of == Of::loss ? "loss" : "grad_norm"},
      {"tensor", tensor}, {"value", value},
      {"usual", usual},   {"text", text()}};
}

Alarm Alarm::from_json(const Json& json) {
  const auto of = json.at("of").get<std::string>();
  return {count_at(json, "step"),
          of == "ratio"  ? Of::ratio
          : of == "loss" ? Of::loss
                         : Of::gradient_norm,
          json.at("tensor").get<std::string>(), number_at(json, "value"), number_at(json, "usual")};
}

bool Watch::History::rings(double value, double& usual, bool too_large) {
  const bool armed = values.size() >= kAlarmMinimum;
  usual = median({values.begin(), values.end()});
  if (armed) highest = std::max(highest, usual);
  const bool wrong = too_large || !std::isfinite(value) ||
                     (armed && usual > 0 && value > kAlarmLimit * usual && value > highest);
  if (std::isfinite(value)) {
    values.push_back(value);
    if (values.size() > kAlarmWindow) values.pop_front();
  }
  const bool begins = wrong && !ringing;
  ringing = wrong;
  return begins;
}

std::vector<Alarm> Watch::observe(i64 step, double lr_factor, const StepReport& report) {
  std::vector<Alarm> alarms;
  const auto observe = [&](const std::string& tensor, double value, double scale,
                           bool too_large = false) {
    double usual = 0;
    if (histories_[tensor].rings(value / scale, usual, too_large))
      alarms.push_back({step, tensor.empty() ? Alarm::Of::gradient_norm : Alarm::Of::ratio, tensor,
                        value, usual * scale});
  };
  if (report.grad_norm) observe("", *report.grad_norm, 1);
  for (const TensorReport& tensor : report.tensors) {
    const double ratio = update_ratio(tensor);
    if (!std::isfinite(tensor.gradient_rms + tensor.weight_rms + tensor.update_rms))
      observe(tensor.name, std::numeric_limits<double>::quiet_NaN(), 1);
    else if (lr_factor > 0 && std::isfinite(ratio))
      // A weight that is hardly above zero (the bias of keys, say) may well move by its size.
      observe(tensor.name, ratio, lr_factor, ratio > kAlarmLimit && tensor.weight_rms > 1e-3);
  }
  return alarms;
}

Json Watch::state() const {
  Json state = Json::object();
  for (const auto& [tensor, history] : histories_)
    state[tensor] = {
        {"values", history.values}, {"highest", history.highest}, {"ringing", history.ringing}};
  return state;
}

void Watch::restore(const Json& state) {
  std::map<std::string, History> histories;
  const auto sound = [](const Json& entry) {
    return entry.is_object() && entry.contains("values") && entry["values"].is_array() &&
           std::ranges::all_of(entry["values"], &Json::is_number) && entry.contains("ringing") &&
           entry["ringing"].is_boolean() &&
           (!entry.contains("highest") || entry["highest"].is_number());  // from older versions
  };
  check(state.is_object() && std::ranges::all_of(state, sound),
        "watch: its state is no object of \"values\" and \"ringing\" by tensor");
  for (const auto& [tensor, entry] : state.items())
    histories[tensor] = {entry["values"].get<std::deque<double>>(), entry.value("highest", 0.0),
                         entry["ringing"].get<bool>()};
  histories_ = std::move(histories);
}

}  // namespace minima

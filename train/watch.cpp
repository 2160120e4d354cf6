#include "train/watch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "core/error.hpp"
#include "core/text/utf8.hpp"
#include "train/metrics.hpp"

namespace minima {
namespace {

/// By Alarm::Of, as the log has them.
constexpr std::array<std::string_view, 4> kKinds{"ratio", "grad_norm", "loss", "no_gradient"};

}  // namespace

double update_ratio(const TensorReport& tensor) {
  return tensor.weight_rms == 0 ? std::numeric_limits<double>::quiet_NaN()
                                : tensor.update_rms / tensor.weight_rms;
}

std::string Alarm::text() const {
  if (of == Of::no_gradient)
    return fmt::format(
        "step {}: no gradient came to {}: the loss of its batches does not depend on it", step,
        tensor);
  const std::string who = of == Of::ratio  ? tensor
                          : of == Of::loss ? "the loss"
                                           : "the norm of the gradient";
  if (!std::isfinite(value)) return fmt::format("step {}: {} is not finite", step, who);
  const std::string what =
      fmt::format("step {}: {} {} {:.3g}{}", step, who, of == Of::ratio ? "moves by" : "is", value,
                  of == Of::ratio ? " of its size" : "");
  const std::string spike =
      usual > 0 && std::isfinite(value / usual)
          ? fmt::format(", {:.3g} times the usual {:.3g}", value / usual, usual)
          : "";
  return what + spike +
         (eight_bit ? "; the optimizer's option fp32=NAME keeps its state, now in 8 bits, in 32"
                    : "");
}

Json Alarm::to_json() const {
  return {{"step", step},     {"of", kKinds[static_cast<std::size_t>(of)]},
          {"tensor", tensor}, {"value", value},
          {"usual", usual},   {"eight_bit", eight_bit},
          {"text", text()}};
}

Alarm Alarm::from_json(const Json& json) {
  const auto* const of = std::ranges::find(kKinds, json.at("of").get<std::string>());
  check(of != kKinds.end(), "alarm: there is none of '{}'", shown(json["of"].get<std::string>()));
  return {count_at(json, "step"),
          static_cast<Of>(of - kKinds.begin()),
          json.at("tensor").get<std::string>(),
          number_at(json, "value"),
          number_at(json, "usual"),
          json.value("eight_bit", false)};
}

bool Watch::History::rings(double value, double lr_factor, double& usual, double least,
                           bool too_large) {
  const bool armed = values.size() >= kAlarmMinimum && measured.size() >= kAlarmMinimum;
  const double at_full_rate = value / lr_factor;
  const double usual_at_full_rate = median({values.begin(), values.end()});
  usual = median({measured.begin(), measured.end()});
  if (armed) highest = std::max(highest, usual_at_full_rate);
  const auto spikes = [](double x, double above) { return above > 0 && x > kAlarmLimit * above; };
  const bool wrong = too_large || !std::isfinite(value) ||
                     (armed && value > least && spikes(value, usual) &&
                      spikes(at_full_rate, usual_at_full_rate) && at_full_rate > highest);
  if (std::isfinite(value))
    for (const auto& [kept, x] : {std::pair{&values, at_full_rate}, {&measured, value}}) {
      kept->push_back(x);
      if (kept->size() > kAlarmWindow) kept->pop_front();
    }
  const bool begins = wrong && !ringing;
  ringing = wrong;
  return begins;
}

std::vector<Alarm> Watch::observe(i64 step, double lr_factor, const StepReport& report) {
  std::vector<Alarm> alarms;
  const auto observe = [&](const std::string& tensor, double value, double factor,
                           bool too_large = false) {
    double usual = 0;
    const double least = tensor.empty() ? 0 : kUsualRatio;
    if (histories_[tensor].rings(value, factor, usual, least, too_large))
      alarms.push_back({step, tensor.empty() ? Alarm::Of::gradient_norm : Alarm::Of::ratio, tensor,
                        value, usual});
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
    state[tensor] = {{"values", history.values},
                     {"measured", history.measured},
                     {"highest", history.highest},
                     {"ringing", history.ringing}};
  return state;
}

void Watch::restore(const Json& state) {
  std::map<std::string, History> histories;
  const auto numbers = [](const Json& list) {
    return list.is_array() && std::ranges::all_of(list, &Json::is_number);
  };
  // Older versions wrote neither "measured" nor "highest".
  const auto sound = [&](const Json& entry) {
    return entry.is_object() && entry.contains("values") && numbers(entry["values"]) &&
           numbers(entry.value("measured", Json::array())) && entry.contains("ringing") &&
           entry["ringing"].is_boolean() && entry.value("highest", Json(0)).is_number();
  };
  check(state.is_object() && std::ranges::all_of(state, sound),
        "watch: its state is no object of \"values\" and \"ringing\" by tensor");
  for (const auto& [tensor, entry] : state.items())
    histories[tensor] = {entry["values"].get<std::deque<double>>(),
                         entry.value("measured", std::deque<double>()), entry.value("highest", 0.0),
                         entry["ringing"].get<bool>()};
  histories_ = std::move(histories);
}

}  // namespace minima

#include "train/update_in_backward.hpp"

#include <algorithm>
#include <cmath>
#include <map>

namespace minima {

UpdateInBackward::UpdateInBackward(Optimizer& optimizer, const std::vector<Parameter*>& parameters,
                                   StepOptions options, i64 together)
    : optimizer_(optimizer),
      parameters_(parameters),
      options_(std::move(options)),
      together_(together),
      on_whole_gradient_([this](Parameter& parameter) { take(parameter); }) {
  check(
      options_.clip_norm == 0,
      "update in backward: the global norm is known when all gradients are; clip by value, or not");
  for (const Parameter* parameter : parameters_)
    check(parameter->value.device() == Device{},
          "update in backward: '{}' lies on {}; this is for the cpu alone", parameter->name,
          to_string(parameter->value.device()));
  options_.measure_norm = options_.skip_non_finite = true;
}

void UpdateInBackward::take(Parameter& parameter) {
  const auto among = [&](const std::vector<Parameter*>& all) {
    return std::ranges::find(all, &parameter) != all.end();
  };
  if (report_.skipped || !parameter.gradient || !among(parameters_) || among(waiting_)) return;
  check(!updated_.contains(&parameter),
        "update in backward: '{}' was updated, and then got a gradient from a checkpoint that uses "
        "it too, with its new value; update when backward has ended, or do without the checkpoint",
        parameter.name);
  waiting_.push_back(&parameter);
  waiting_bytes_ += parameter.gradient.bytes();
  most_bytes_ = std::max(most_bytes_, waiting_bytes_);
  if (waiting_bytes_ >= together_) step(std::exchange(waiting_, {}));
}

void UpdateInBackward::step(const std::vector<Parameter*>& parameters) {
  waiting_bytes_ = 0;
  if (report_.skipped || parameters.empty()) return;
  options_.only = parameters;
  StepReport report = optimizer_.step(options_);
  squares_ += *report.grad_norm * *report.grad_norm;
  report_.skipped = report.skipped;
  report_.bad_weights |= report.bad_weights;
  report_.watch_seconds += report.watch_seconds;
  std::ranges::move(report.tensors, std::back_inserter(report_.tensors));
  if (report.skipped) return;
  for (Parameter* parameter : parameters) {
    updated_.insert(parameter);
    parameter->gradient.clear();
  }
}

StepReport UpdateInBackward::finish() {
  step(std::exchange(waiting_, {}));
  std::vector<Parameter*> rest;  // not every use of which was on backward's way
  std::ranges::copy_if(parameters_, std::back_inserter(rest), [&](const Parameter* parameter) {
    return parameter->gradient && !updated_.contains(parameter);
  });
  step(rest);
  report_.grad_norm = std::sqrt(squares_);
  std::map<std::string, std::size_t> place;
  for (const ParameterShape& each : optimizer_.parameters()) place.emplace(each.name, place.size());
  std::ranges::sort(report_.tensors, {},
                    [&](const TensorReport& each) { return place.at(each.name); });
  return std::move(report_);
}

}  // namespace minima

#include "train/update_in_backward.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace minima {
namespace {

class Updates {
 public:
  Updates(Optimizer& optimizer, const std::vector<Parameter*>& parameters, StepOptions options,
          i64 together)
      : optimizer_(optimizer), options_(std::move(options)), together_(together) {
    std::set<std::string> own;
    for (const ParameterShape& each : optimizer.parameters()) own.insert(each.name);
    std::ranges::copy_if(parameters, std::back_inserter(parameters_),
                         [&](const Parameter* each) { return own.contains(each->name); });
    options_.measure_norm = options_.skip_non_finite = true;
  }

  /// Its gradient is whole.
  void take(Parameter& parameter) {
    if (std::ranges::find(parameters_, &parameter) == parameters_.end()) return;
    refuse_second_gradient(parameter);
    if (!parameter.gradient || std::ranges::find(waiting_, &parameter) != waiting_.end()) return;
    waiting_.push_back(&parameter);
    waiting_bytes_ += parameter.gradient.bytes();
    result_.most_bytes = std::max(result_.most_bytes, waiting_bytes_);
    if (waiting_bytes_ >= together_) step();
  }

  UpdatedInBackward finish() {
    step();
    for (const Parameter* parameter : parameters_) refuse_second_gradient(*parameter);
    StepReport& report = result_.report;
    report.grad_norm = std::sqrt(squares_);
    if (!report.tensors.empty()) sort_as_step_does(report.tensors);
    return std::move(result_);
  }

 private:
  void refuse_second_gradient(const Parameter& parameter) const {
    check(!parameter.gradient || !result_.parameters.contains(&parameter),
          "update in backward: '{}' was updated, and then got a gradient again from a checkpoint "
          "that uses it too, with its new value; update when backward has ended, or do without the "
          "checkpoint",
          parameter.name);
  }

  /// In the optimizer's order.
  void sort_as_step_does(std::vector<TensorReport>& tensors) const {
    std::map<std::string, std::size_t> place;
    for (const ParameterShape& each : optimizer_.parameters())
      place.emplace(each.name, place.size());
    std::ranges::sort(tensors, {}, [&](const TensorReport& each) { return place.at(each.name); });
  }

  void step() {
    const std::vector<Parameter*> parameters = std::exchange(waiting_, {});
    waiting_bytes_ = 0;
    StepReport& all = result_.report;
    if (all.skipped || parameters.empty()) return;
    StepOptions options = options_;
    options.only = parameters;
    StepReport report = optimizer_.step(options);
    squares_ += *report.grad_norm * *report.grad_norm;
    all.skipped = report.skipped;
    all.bad_weights |= report.bad_weights;
    all.watch_seconds += report.watch_seconds;
    std::ranges::move(report.tensors, std::back_inserter(all.tensors));
    if (report.skipped) return;
    for (Parameter* parameter : parameters) {
      result_.parameters.insert(parameter);
      parameter->gradient.clear();
    }
  }

  Optimizer& optimizer_;
  std::vector<Parameter*> parameters_;  ///< those that the optimizer has
  StepOptions options_;
  const i64 together_;
  std::vector<Parameter*> waiting_;
  i64 waiting_bytes_ = 0;
  double squares_ = 0;  ///< of the norms
  UpdatedInBackward result_;
};

}  // namespace

UpdatedInBackward update_in_backward(const Variable& loss, const Tensor& dy, Optimizer& optimizer,
                                     const std::vector<Parameter*>& parameters, StepOptions options,
                                     i64 together) {
  for (const Parameter* parameter : parameters)
    check(parameter->value.device() == Device{},
          "update in backward: '{}' lies on {}; this is for the cpu alone", parameter->name,
          to_string(parameter->value.device()));
  check(
      options.clip_norm == 0,
      "update in backward: the global norm is known only when all gradients are; clip by value, or "
      "not");
  Updates updates(optimizer, parameters, std::move(options), together);
  loss.backward(dy, [&](Parameter& parameter) { updates.take(parameter); });
  return updates.finish();
}

}  // namespace minima

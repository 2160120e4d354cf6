/// Explaining a step: every number of it for one element, from the step itself.
///
///     Explanation explanation("adamw:lr=0.1", Tensor::scalar(0.5f), {.element = 0});
///     Json step = explanation.step(Tensor::scalar(0.2f));     // real step, with its account
///     std::string text = describe(step);                      // as a person reads it
#pragma once

#include "optim/optimizer.hpp"

namespace minima {

struct ExplainOptions {
  i64 element = 0;         ///< counted row by row
  std::string name = "w";  ///< of the parameter; rules that choose by name (AdaPM) look at it
  StepOptions step = {};   ///< clipping, factor on the learning rate, scaling
};

/// One parameter under one optimizer.
class Explanation {
 public:
  /// Throws Error as make_optimizer does, and for an element that is not in `value`. A state in block8
  /// is quantized whatever the tensor's size, unless the spec says min_8bit_size itself.
  Explanation(const std::string& spec, Tensor value, ExplainOptions options);

  /// One step with this gradient, which must have the value's shape:
  /// {"optimizer", "t", "element", "shape", "gradient",
  ///  "grad_norm", "clip_norm", "clip_factor", "clip_value", "lr_factor",
  ///  "notes": [{"letter", "formula", "value"}]            numbers of the whole parameter
  ///  "constants": [{"letter", "value"}]                   of the formula, at this t
  ///  "lines": [{"letter", "letters", "numbers", "value"}] the formula, result by result
  ///  "value": {"before", "after"},
  ///  "slots": [{"slot", "letter", "storage", "shape", "before", "after", "code", "map", "absmax"}]
  ///  "given": {"weight", "gradient"}}                     all of both, row by row
  /// `before` and `after` are what is stored, decoded: of the element, or all of a slot that has no value for each
  /// element. Of block8 alone: after = map · absmax, where map is the number that the code stands for. What has more
  /// than 4,096 numbers is left out.
  Json step(const Tensor& gradient);

  const Tensor& value() const { return parameter_->value; }
  const Optimizer& optimizer() const { return optimizer_; }

 private:
  std::unique_ptr<Parameter> parameter_;
  ExplainOptions options_;
  Optimizer optimizer_;
  i64 t_ = 0;
};

/// The account of a step as text.
std::string describe(const Json& step);

}  // namespace minima

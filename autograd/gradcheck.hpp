/// gradcheck: are the gradients of a function those that finite differences give?
///
///     gradcheck([](const std::vector<Variable>& in) { return mul(in[0], in[1]); }, {a, b});
///
/// The function maps f64 tensors to a value of any shape, which is weighted with fixed random
/// numbers u: L = Σ u y. For every element x of every input, dL/dx from backward is compared with
/// (L(x + h) − L(x − h)) / 2h, h = 1e-5 max(1, |x|), whose own error is about 1e-10.
#pragma once

#include "autograd/variable.hpp"
#include "core/rng.hpp"

namespace minima {

/// Throws Error, naming the input, the element and both values, where they differ by more than
/// tolerance · max(1, |gradient|).
template <class Function>
void gradcheck(const Function& function, const std::vector<Tensor>& inputs,
               double tolerance = 1e-7) {
  std::vector<Parameter> parameters;
  for (const Tensor& input : inputs)
    parameters.push_back(
        {fmt::format("input {}", parameters.size()), input.to(DType::f64).clone(), {}});

  const auto evaluate = [&] {
    return function(std::vector<Variable>(parameters.begin(), parameters.end()));
  };
  const Variable y = evaluate();
  Tensor u = Tensor::empty_like(y.value());
  RandomSequence random(1, "gradcheck");
  for (double& weight : u.span<double>()) weight = random.normal();
  y.backward(u);

  const auto weighted = [&] {
    NoGrad no_grad;
    const Tensor value = evaluate().value();
    double total = 0;
    for (i64 i = 0; i < u.size(); ++i) total += u.data<double>()[i] * value.data<double>()[i];
    return total;
  };
  for (Parameter& p : parameters) {
    const Tensor gradient = p.gradient ? p.gradient.to_dense(p.value.shape())
                                       : Tensor::zeros(p.value.shape(), DType::f64);
    check(gradient.shape() == p.value.shape(), "gradcheck: {} is {}, its gradient {}", p.name,
          p.value.shape(), gradient.shape());
    for (i64 i = 0; i < p.value.size(); ++i) {
      double& x = p.value.data<double>()[i];
      const double before = x, h = 1e-5 * std::max(1.0, std::abs(x));
      x = before + h;
      const double above = weighted();
      x = before - h;
      const double below = weighted();
      x = before;
      const double expected = (above - below) / (2 * h), actual = gradient.data<double>()[i];
      check(std::abs(actual - expected) <= tolerance * std::max(1.0, std::abs(expected)),
            "gradcheck: {}, element {}: backward gives {}, differences give {}", p.name, i, actual,
            expected);
    }
  }
}

}  // namespace minima

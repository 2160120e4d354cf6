/// The smallest training that there is, for tests of what happens around steps.
#pragma once

#include <cmath>
#include <limits>

#include "autograd/functions.hpp"
#include "train/trainer.hpp"

namespace minima::test {

inline Variable times(const Variable& x, double factor) {
  return mul(x, Variable(Tensor::full({}, factor)));
}

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A line through points that are given one by one; `poison` may spoil the loss of a batch.
struct Line {
  Parameter slope{.name = "slope", .value = Tensor::full({1}, 1), .gradient = {}};
  std::function<Variable(const Variable& loss, i64 step)> poison = [](const Variable& loss, i64) {
    return loss;
  };

  Objective objective() {
    return {.parameters = {&slope},
            .batches =
                [](i64) {
                  return std::vector<std::vector<i64>>{{1}, {2}, {3}, {4}};
                },
            .loss =
                [this](std::span<const i64> batch, const nn::Pass& pass) {
                  const Tensor x = Tensor::full({1}, static_cast<double>(batch[0]));
                  const Variable error =
                      sub(mul(Variable(slope), Variable(x)),
                          Variable(Tensor::full({1}, 3.0 * static_cast<double>(batch[0]))));
                  return BatchLoss{poison(mean(square(error)), pass.step)};
                },
            .evaluate =
                [this] {
                  const double error = slope.value.item() - 3;
                  return Evaluation{
                      ConfusionMatrix(0), error * error, {{"nearness", -std::abs(error)}}};
                }};
  }
};

inline TrainingOptions line_options() {
  TrainingOptions options{.epochs = 5};
  options.schedule = "constant";
  options.warmup = 0;
  options.clip_norm = 0;
  options.metric = "nearness";
  return options;
}

}  // namespace minima::test

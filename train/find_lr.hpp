/// Which learning rate suits an optimizer: the range test.   Smith 2017, arXiv:1506.01186, section 3.3.
///
/// Training with a rate that rises from step to step by a fixed factor, from so little that nothing happens until the loss
/// blows up. Of the loss L, smoothed over about 20 steps, as a function of log lr:
///
///     steepest    where L falls fastest                       the suggestion
///     lowest      where L is least: about the largest rate that still trains
///
/// The suggestion is at most a tenth of `lowest`: what 100 steps bear a whole training may not.
#pragma once

#include "train/training_options.hpp"

namespace minima {

struct LearningRateSearch {
  double least = 1e-6, most = 10;
  i64 steps = 100;
};

struct LearningRateCurve {
  std::string spec;
  std::vector<double> rates, losses, smoothed;  ///< as many as were tried before the loss blew up
  double steepest, lowest, suggestion;

  /// Whether the loss has fallen by so much, a hundredth, that a rate can be told by it.
  bool tells() const;
  /// The curve as text, a line for each of some rates.
  std::string text() const;
  Json to_json() const;
};

/// Trains on a fresh optimizer of `spec` (its own lr is not used), then puts the parameters back, also where it throws. Throws
/// TrainingFailed where no rate lowers the loss; Error for an optimizer that makes its own step size and (run time) when
/// interrupted (InterruptRequests).
LearningRateCurve find_learning_rate(const Objective& objective, const std::string& spec,
                                     const TrainingOptions& options,
                                     const LearningRateSearch& search = {});

/// `spec` with another learning rate.
std::string with_learning_rate(const std::string& spec, double lr);
/// The learning rate of a spec; none where it has no option lr, or lr=none. Throws Error for what is no number.
std::optional<double> learning_rate(const std::string& spec);
/// Throws Error for groups with a learning rate of their own: a search for one rate (`what`: "--find-lr") would judge it by
/// parameters that do not use it.
void refuse_own_rates(const std::vector<GroupPattern>& groups, const char* what);

/// The loss up to which curves are drawn: as far above those before the lowest one as that is below them. Where a curve blows
/// up it does by so much that nothing else could be seen.
double highest_drawn(const std::vector<LearningRateCurve>& curves);

/// A page with the curves of several optimizers.
std::string find_lr_page(const std::vector<LearningRateCurve>& curves);

}  // namespace minima

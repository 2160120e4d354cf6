/// Changing the optimizer in mid-training: what the new one can take over of the old one's state.
///
///     Optimizer next = make_optimizer("adafactor:lr=0.03:relative_step=false", groups);
///     fmt::print("{}", table(convert_state(optimizer, next)));
///     optimizer = std::move(next);
///
/// A slot is taken over where it means the same, and translated where there is a formula for what
/// it would have become; t is the parameter's step count, unit what a slot holds of a constant
/// gradient's value:
///
///   mean of g       Adam's exp_avg (and AdamW's, AdaPM's), unit 1 − β₁ᵗ;  Lion's, unit 1 (long after its
///                   start);  SGD's momentum_buffer, a sum, unit (1 − τ)/(1 − μ)
///   mean of g²      Adam's exp_avg_sq and CAME's of a vector, unit 1 − β₂ᵗ;  Adafactor's, unit 1
///   its factors     R, C: row and column means of the mean of g², of the same unit;
///                   backwards R C / mean(R), which has these row and column means
///
/// A value goes over times the quotient of the units. Not taken over:
///   exp_avg to Adam without a second moment   with t from 1 the first step is (β₁ m + (1−β₁) g)/
///                   ((1−β₁) |g|), up to 1/(1 − β₁) times too long
///   exp_avg between these and Adafactor, CAME   theirs is a mean of updates, not of gradients
///   CAME's exp_avg_res_*, AdaPM's basis and coef   statistics of their own
/// Where the second moment goes over, so does t, and an exp_avg that starts afresh beside it grows
/// from 0 without bias correction: shorter steps, not longer ones. Decay that went through the
/// gradient (L2) stays in the moments until it is forgotten.
#pragma once

#include "optim/optimizer.hpp"

namespace minima {

struct SlotConversion {
  enum class How {
    copied,      ///< bit for bit
    re_encoded,  ///< the same numbers, rounded for another storage
    converted,   ///< by the formula that `note` gives
    afresh,      ///< zero; `note` says why
    dropped,     ///< the old one's, for which the new one has no use
  };
  std::string parameter, slot;  ///< of the new optimizer; no slot where dropped
  std::string from;             ///< the old one's slot; empty where afresh
  How how = How::afresh;
  std::string note = {};
  bool needs_warmup = false;  ///< afresh, and the first steps feel it
};

/// Fills the state of `to`, which has made no step, from that of `from`. One entry for each slot of
/// `to` but the step counts, which go over where the second moment does, and one for each of `from`
/// that nothing was made of, unless it is computed anew in each step. Throws Error when the two do not have the same parameters.
std::vector<SlotConversion> convert_state(const Optimizer& from, Optimizer& to);

/// A line for each slot, origin and way, with the number of tensors.
std::string table(const std::vector<SlotConversion>& conversions);

std::string_view how_name(SlotConversion::How how);

}  // namespace minima

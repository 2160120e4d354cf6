/// Dropout by counter (Srivastava et al. 2014): an element is zeroed with probability `rate`, else
/// divided by 1 − rate.
///
/// The mask is a function of (seed and stream name, optimizer step, example id, position in the
/// text, feature), never of where a token landed in a batch: packing, padding, accumulation,
/// threads and recomputation all see the same mask, which is never stored. Backward is the same
/// function applied to the gradient. Of step, id and position the low 32 bits count.
#pragma once

#include "core/rng.hpp"
#include "core/tensor.hpp"

namespace minima::ops {

/// Where and when: the same for a whole layer call.
struct DropoutSite {
  double rate = 0;  ///< 0 ≤ rate < 1
  u64 key = 0;      ///< stream_key(seed, layer name)
  i64 step = 0;     ///< optimizer step
  /// Where the device finds it instead: for work that is recorded once and replayed in each step. Null: nowhere.
  const i64* step_there = nullptr;

  MINIMA_HD i64 step_now() const { return step_there ? *step_there : step; }
};

/// x [rows, …] with `example_id` and `position` [rows] (i64) saying what each row is.
/// Throws Error when the rate is not in [0, 1) or the counts differ.
Tensor dropout(const Tensor& x, const DropoutSite& site, const Tensor& example_id,
               const Tensor& position);

}  // namespace minima::ops

#pragma once

#include "autograd/layers.hpp"
#include "nn/module.hpp"
#include "nn/pass.hpp"

namespace minima::nn {

/// Zeroes elements with probability `rate` while training (core/ops/dropout.hpp). The stream's name
/// is the module's path, so two layers never share a mask.
class Dropout : public Module {
 public:
  explicit Dropout(double rate) : rate(rate) {}

  ops::DropoutSite site(const Pass& pass) const {
    if (!pass.training || rate == 0) return {};
    return {rate, stream_key(pass.seed, path()), pass.step, pass.step_there};
  }
  /// x [R, …], whose rows are `rows`.
  Variable operator()(const Variable& x, const PackedRows& rows, const Pass& pass) const {
    return dropout(x, site(pass), rows.row_example, rows.positions);
  }
  double rate;
};

}  // namespace minima::nn

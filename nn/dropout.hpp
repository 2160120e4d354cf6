#pragma once

#include "autograd/layers.hpp"
#include "nn/module.hpp"
#include "nn/pass.hpp"

namespace minima::nn {

/// Zeroes elements with probability `rate` while training (core/ops/dropout.hpp). The stream's name
/// is the module's path, so two layers of a model never share a mask.
class Dropout : public Module {
 public:
  explicit Dropout(double rate) : rate(rate) {}

  /// Throws Error while training for a module that is nobody's child, whose mask others would share.
  ops::DropoutSite site(const Pass& pass) const {
    if (!pass.training || rate == 0) return {};
    check(!path().empty(), "dropout: it has no name; make it by child<Dropout>(name, {})", rate);
    return {rate, stream_key(pass.seed, path()), pass.step, pass.step_there};
  }
  /// x [R, …], whose rows are `rows`.
  Variable operator()(const Variable& x, const PackedRows& rows, const Pass& pass) const {
    return dropout(x, site(pass), rows.row_example, rows.positions);
  }
  double rate;

 private:
  bool draws() const override { return true; }
};

}  // namespace minima::nn

#pragma once

#include "autograd/functions.hpp"
#include "nn/module.hpp"

namespace minima::nn {

/// Row ids[i] of a table.   ids [T] i64, on any device → y [T, d].   Parameter: weight [rows, d].
/// The row `padding_idx` (if any) gets no gradient.
class Embedding : public Module {
 public:
  Embedding(i64 rows, i64 d, double deviation, std::optional<i64> padding_idx = {})
      : weight(param("weight", {rows, d}, Init::normal(deviation))), padding_idx(padding_idx) {}
  Variable operator()(const Tensor& ids) const {
    return embedding(weight, ids.to(weight.value.device()), padding_idx);
  }
  Parameter& weight;
  std::optional<i64> padding_idx;
};

}  // namespace minima::nn

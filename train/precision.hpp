/// How a training step computes: the numbers of its products, the scale of its loss, and what becomes of it where they are
/// not finite.
#pragma once

#include <span>
#include <string_view>

#include "core/device.hpp"
#include "core/dtype.hpp"

namespace minima {

/// What to do in a step whose loss or gradient is not finite. (Weights that are not finite after a step always end
/// training: no step could mend them.)
enum class NonFinite {
  stop,        ///< with an error that names the first tensor and the op
  skip,        ///< leave the parameters and the optimizer as they are, and go on
  lower_scale  ///< the same, and halve the scale of the loss in backward
};
std::span<const std::string_view> choices(NonFinite);  ///< "stop", "skip", "lower-scale"

/// Of the products in forward and backward; parameters, their gradients and the optimizer are fp32 in any case, and
/// evaluation too. bf16 and fp16: autograd/autocast.hpp; with fp16 the loss is scaled (LossScale). tf32, on GPUs alone: all
/// is kept as in fp32, and the products' operands are rounded to 10 bits of mantissa (core/ops/matmul.hpp).
enum class Precision { fp32, tf32, bf16, fp16 };
std::span<const std::string_view> choices(Precision);  ///< "fp32", "tf32", "bf16", "fp16"
DType product_type(Precision precision);
/// Throws Error for tf32 where the device has no such products: on the cpu, on GPUs below compute capability 8.0.
void check_precision(Precision precision, Device device);
/// Throws Error where weights cannot be updated in backward: with fp16, on a GPU.
void check_update_in_backward(Precision precision, Device device);
/// Throws Error for a number of batches that is out of range, or where they are several and weights are updated in backward.
void check_accumulate(i64 accumulate, bool update_in_backward);

/// An option's value as it is written.
template <class Choice>
std::string_view name_of(Choice choice) {
  return choices(choice)[static_cast<std::size_t>(choice)];
}

/// What the loss is multiplied by in backward, and its gradient divided by in the step. The numbers of fp16 end at 65,504
/// and at 6·10⁻⁸, so with it that is 2¹⁶ at first, half as much after a step whose gradient was not finite (it is skipped,
/// whatever the policy for what is not finite), and twice as much, up to 2³², after 1,000 good ones in a row. Otherwise it
/// is 1, and falls and rises likewise, up to 1, where the policy says so.
///   Micikevicius et al. 2018, arXiv:1710.03740, §3.2.
struct LossScale {
  LossScale(Precision precision, NonFinite policy);

  /// Takes note of a step.
  void count(bool skipped);

  double greatest;
  bool falls;  ///< where a gradient was not finite
  double value;
  i64 good_steps = 0;  ///< in a row, while it may rise
};

}  // namespace minima

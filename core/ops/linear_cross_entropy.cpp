#include "core/ops/linear_cross_entropy.hpp"

#include "core/on_device.hpp"
#include "core/ops/cross_entropy.hpp"
#include "core/ops/cross_entropy_rows.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/reduce.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {

namespace {

/// How many targets count, but at least 1: [] f64, beside them.
Tensor counted(const Tensor& target, i64 classes, i64 ignore_index) {
  Tensor count = Tensor::empty({}, DType::f64, target.device());
  on_device(target.device(), [&](auto device) {
    each_row(device, 1, target.size(),
             CountTargets{{classes, ignore_index, 0, nullptr},
                          target.size(),
                          target.data<i64>(),
                          count.data<double>()});
  });
  return count;
}

/// The sum of the losses, formed in double, over the count; on the device of x.
Tensor mean_of(const std::vector<Tensor>& losses, const Tensor& x, const Tensor& count) {
  if (losses.empty()) return Tensor::zeros({}, x.dtype(), x.device());
  return binary<Div>(sum(stack(losses, 0).to(DType::f64)), count).to(x.dtype());
}

}  // namespace

i64 linear_cross_entropy_chunk(i64 classes) {
  return std::max<i64>(64, (i64{1} << 22) / std::max<i64>(classes, 1));
}

LinearCrossEntropyOut linear_cross_entropy(const Tensor& x, const Tensor& w, const Tensor& bias,
                                           const Tensor& target, Gradients needed) {
  check(x.rank() == 2 && w.rank() == 2 && x.size(1) == w.size(1) && target.rank() == 1 &&
            target.size() == x.size(0) && bias.shape() == Shape{w.size(0)},
        "linear_cross_entropy: x is {}, w {}, bias {}, targets {}; they must be [M, d], [C, d], "
        "[C] and [M]",
        x.shape(), w.shape(), bias.shape(), target.shape());
  check_together("linear_cross_entropy", x, w, bias, target);
  check_i64("linear_cross_entropy", "targets", target);
  check(w.dtype() == x.dtype() && bias.dtype() == x.dtype(),
        "linear_cross_entropy: x is {}, w {}, bias {}; they must have one type",
        dtype_name(x.dtype()), dtype_name(w.dtype()), dtype_name(bias.dtype()));
  const i64 rows = x.size(0), width = x.size(1), classes = w.size(0);
  const i64 chunk = linear_cross_entropy_chunk(classes);
  const CrossEntropyOptions options{.reduction = Reduction::sum};
  const Tensor count = counted(target, classes, options.ignore_index),
               one = Tensor::full({}, 1, x.dtype(), x.device());

  LinearCrossEntropyOut out;
  if (needed.dx) out.dx = Tensor::empty_like(x);
  if (needed.dw) out.dw = Tensor::zeros_like(w);
  if (needed.dbias) out.dbias = Tensor::zeros_like(bias);
  std::vector<Tensor> losses;
  visit_real("linear_cross_entropy", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (i64 begin = 0; begin < rows; begin += chunk) {
      const i64 end = std::min(rows, begin + chunk), n = end - begin;
      const Tensor x_chunk = x.rows(begin, end), targets = target.rows(begin, end);
      Tensor z = linear(x_chunk, w, bias);
      CrossEntropyOut entropy = cross_entropy(z, targets, options);
      losses.push_back(entropy.loss);
      if (!needed.dx && !needed.dw && !needed.dbias) continue;

      entropy.divisor = count;
      cross_entropy_backward_in_place(one, z, targets, options, entropy);
      const Factor<T> dz{z.data<T>(), n, classes};
      on_device(x.device(), [&](auto device) {
        if (needed.dx)
          gemm(device, 1, dz, Factor{w.data<T>(), classes, width}, 0,
               out.dx.data<T>() + begin * width);
        if (needed.dw)
          gemm(device, 1, dz.transposed(), Factor{x_chunk.data<T>(), n, width}, 1,
               out.dw.data<T>());
      });
      if (needed.dbias) out.dbias = binary<Add>(out.dbias, column_sums(z));
    }
  });
  out.loss = mean_of(losses, x, count);
  return out;
}

}  // namespace minima::ops

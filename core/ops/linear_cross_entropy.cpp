#include "core/ops/linear_cross_entropy.hpp"

#include "core/ops/cross_entropy.hpp"
#include "core/ops/matmul.hpp"

namespace minima::ops {

i64 linear_cross_entropy_chunk(i64 classes) {
  return std::max<i64>(64, (i64{1} << 22) / std::max<i64>(classes, 1));
}

LinearCrossEntropyOut linear_cross_entropy(const Tensor& x, const Tensor& w, const Tensor& bias,
                                           const Tensor& target, Gradients gradients) {
  check(x.rank() == 2 && w.rank() == 2 && x.size(1) == w.size(1) && target.rank() == 1 &&
            target.size() == x.size(0) && bias.shape() == Shape{w.size(0)},
        "linear_cross_entropy: x is {}, w {}, bias {}, targets {}; they must be [M, d], [C, d], "
        "[C] and [M]",
        x.shape(), w.shape(), bias.shape(), target.shape());
  const i64 rows = x.size(0), width = x.size(1), classes = w.size(0);
  const i64 chunk = linear_cross_entropy_chunk(classes);
  const CrossEntropyOptions options{.reduction = Reduction::sum};
  const Tensor share = Tensor::full({}, 1 / static_cast<double>(std::max<i64>(rows, 1)), x.dtype());

  LinearCrossEntropyOut out;
  if (gradients == Gradients::all) {
    out.dx = Tensor::empty_like(x);
    out.dw = Tensor::zeros_like(w);
    out.dbias = Tensor::zeros_like(bias);
  }
  double total = 0;
  visit_real("linear_cross_entropy", x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (i64 begin = 0; begin < rows; begin += chunk) {
      const i64 end = std::min(rows, begin + chunk), n = end - begin;
      const Tensor x_chunk = x.rows(begin, end), targets = target.rows(begin, end);
      Tensor z = linear(x_chunk, w, bias);
      const CrossEntropyOut entropy = cross_entropy(z, targets, options);
      total += entropy.loss.item();
      if (gradients == Gradients::none) continue;

      cross_entropy_backward_in_place(share, z, targets, options, entropy);  // z is dz from here
      gemm<T>(Transpose::no, Transpose::no, n, width, classes, 1, z.data<T>(), classes, w.data<T>(),
              width, 0, out.dx.data<T>() + begin * width, width);
      gemm<T>(Transpose::yes, Transpose::no, classes, width, n, 1, z.data<T>(), classes,
              x_chunk.data<T>(), width, 1, out.dw.data<T>(), width);
      const Tensor sums = column_sums(z);
      for (i64 c = 0; c < classes; ++c) out.dbias.data<T>()[c] += sums.data<T>()[c];
    }
  });
  out.loss = Tensor::full({}, total / static_cast<double>(std::max<i64>(rows, 1)), x.dtype());
  return out;
}

}  // namespace minima::ops

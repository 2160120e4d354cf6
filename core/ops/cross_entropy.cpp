#include "core/ops/cross_entropy.hpp"

#include "core/cuda/note_outside.hpp"
#include "core/on_device.hpp"
#include "core/ops/cross_entropy_rows.hpp"
#include "core/ops/reduce.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

template <class T>
Classes<T> classes_of(const Tensor& logits, const CrossEntropyOptions& options) {
  return {logits.size(1), options.ignore_index, options.label_smoothing,
          options.weight.defined() ? options.weight.data<T>() : nullptr};
}

void check_targets(Cpu, const Tensor& target, i64 classes, i64 ignore_index) {
  for (i64 t : target.span<i64>())
    check(t == ignore_index || (t >= 0 && t < classes),
          "cross_entropy: target {} is none of {} classes, nor ignore_index {}", t, classes,
          ignore_index);
}
template <AnyGpu Gpu>
void check_targets(Gpu gpu, const Tensor& target, i64 classes, i64 ignore_index) {
  note_outside(gpu, "cross_entropy: target", target.size(), target.data<i64>(), classes,
               ignore_index);
}

template <class T>
void take_mean(Cpu, const Classes<T>& classes, const Tensor& target, CrossEntropyOut& out) {
  double& divisor = *out.divisor.data<double>() = 0;
  for (i64 t : target.span<i64>())
    if (t != classes.ignore_index) divisor += classes.weight_of(t);
  out.loss = sum(out.loss, {}, KeepDims::no, divisor);
}
template <AnyGpu Gpu, class T>
void take_mean(Gpu gpu, const Classes<T>& classes, const Tensor& target, CrossEntropyOut& out) {
  Tensor mean = Tensor::empty({}, out.loss.dtype(), out.loss.device());
  each_row(gpu, 1, target.size(),
           MeanLoss<T>{classes, target.size(), out.loss.data<T>(), target.data<i64>(),
                       mean.data<T>(), out.divisor.data<double>()});
  out.loss = mean;
}

}  // namespace

CrossEntropyOut cross_entropy(const Tensor& logits, const Tensor& target,
                              const CrossEntropyOptions& options) {
  check(logits.rank() == 2 && target.rank() == 1 && logits.size(0) == target.size(),
        "cross_entropy: logits are {}, targets {}; they must be [N, C] and [N]", logits.shape(),
        target.shape());
  const i64 rows = logits.size(0), classes = logits.size(1);
  check(target.dtype() == DType::i64,
        "cross_entropy: targets are {}; the numbers of classes are i64",
        dtype_name(target.dtype()));
  check(classes > 0, "cross_entropy: logits are {}; there must be a class", logits.shape());
  check(options.label_smoothing >= 0 && options.label_smoothing <= 1,
        "cross_entropy: label_smoothing is {}; it must lie between 0 and 1",
        options.label_smoothing);
  check(!options.weight.defined() ||
            (options.weight.shape() == Shape{classes} && options.weight.dtype() == logits.dtype()),
        "cross_entropy: weights must be one {} for each of {} classes", dtype_name(logits.dtype()),
        classes);
  check_together("cross_entropy", logits, target, options.weight);
  CrossEntropyOut out;
  out.loss = Tensor::empty({rows}, logits.dtype(), logits.device());
  out.statistics = Tensor::empty({rows, 2}, logits.dtype(), logits.device());
  out.divisor = Tensor::full({}, 1, DType::f64, logits.device());
  visit_real("cross_entropy", logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto c = classes_of<T>(logits, options);
    on_device(logits.device(), [&](auto device) {
      check_targets(device, target, classes, options.ignore_index);
      each_row(device, rows, classes,
               CrossEntropyForward<T>{c, logits.data<T>(), target.data<i64>(), out.loss.data<T>(),
                                      out.statistics.data<T>()});
      if (options.reduction == Reduction::mean) take_mean(device, c, target, out);
    });
  });
  if (options.reduction == Reduction::sum) out.loss = sum(out.loss);
  return out;
}

namespace {

void write_gradient(const Tensor& dy, const Tensor& logits, const Tensor& target,
                    const CrossEntropyOptions& options, const CrossEntropyOut& out, Tensor& dx) {
  const bool one = options.reduction != Reduction::none;
  check(
      logits.rank() == 2 && target.shape() == Shape{logits.size(0)} &&
          dy.shape() == (one ? Shape{} : target.shape()) &&
          out.statistics.shape() == Shape{logits.size(0), 2},
      "cross_entropy: the gradient is {}, logits {}, targets {}; they must be {}, [N, C] and [N], "
      "and what was kept must be of these logits",
      dy.shape(), logits.shape(), target.shape(), one ? "[]" : "[N]");
  check_together("cross_entropy", dy, logits, target, out.statistics, out.divisor);
  visit_real("cross_entropy", logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(logits.device(), [&](auto device) {
      each_row(device, logits.size(0), logits.size(1),
               CrossEntropyBackward<T>{classes_of<T>(logits, options), dy.data<T>(),
                                       options.reduction == Reduction::none ? 1 : 0,
                                       out.divisor.data<double>(), logits.data<T>(),
                                       target.data<i64>(), out.statistics.data<T>(), dx.data<T>()});
    });
  });
}

}  // namespace

Tensor cross_entropy_backward(const Tensor& dy, const Tensor& logits, const Tensor& target,
                              const CrossEntropyOptions& options, const CrossEntropyOut& out) {
  Tensor dx = Tensor::empty_like(logits);
  write_gradient(dy, logits, target, options, out, dx);
  return dx;
}

void cross_entropy_backward_in_place(const Tensor& dy, Tensor& logits, const Tensor& target,
                                     const CrossEntropyOptions& options,
                                     const CrossEntropyOut& out) {
  write_gradient(dy, logits, target, options, out, logits);
}

}  // namespace minima::ops

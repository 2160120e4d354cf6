#include "core/ops/cross_entropy.hpp"

#include "core/cpu/simd.hpp"
#include "core/math.hpp"
#include "core/ops/reduce.hpp"
#include "core/ops/row.hpp"

namespace minima::ops {
namespace {

/// What both kernels need to know of the options. weight is null where all classes weigh 1.
template <class T>
struct Classes {
  i64 count, ignore_index;
  double smoothing;
  const T* weight;

  MINIMA_HD double weight_of(i64 c) const { return weight ? static_cast<double>(weight[c]) : 1; }
  MINIMA_HD double weight_sum() const {
    return weight ? row_sum(count, [w = weight](i64 c) MINIMA_INLINE { return w[c]; })
                  : static_cast<double>(count);
  }
  /// Σ_c w_c x_c.
  MINIMA_HD double weighted_sum(const T* x) const {
    if (!weight) return row_sum(count, [x](i64 c) MINIMA_INLINE { return x[c]; });
    return row_sum(count, [x, w = weight](i64 c) MINIMA_INLINE { return w[c] * x[c]; });
  }
};

/// −ln p_c = lse − x_c, so ℓ = (1−ε) w_t (lse − x_t) + ε/C (lse Σ w − Σ w x).
template <class T>
void forward(Cpu, const Classes<T>& classes, i64 rows, const T* logits, const i64* target, T* loss,
             T* logsumexp) {
  const i64 n = classes.count;
  parallel_chunks(rows, std::max<i64>(1, (1 << 13) / n), [&](i64 begin, i64 end) {
    vectorize([&]() MINIMA_INLINE {
      for (i64 i = begin; i < end; ++i) {
        const T* x = logits + i * n;
        const T shift = row_max(n, x);
        const double total =
            row_sum(n, [x, shift](i64 c) MINIMA_INLINE { return math::exp(x[c] - shift); });
        const double lse = static_cast<double>(shift) + math::log(total);
        logsumexp[i] = static_cast<T>(lse);
        loss[i] = 0;
        const i64 t = target[i];
        if (t == classes.ignore_index) continue;
        const double of_target = classes.weight_of(t) * (lse - static_cast<double>(x[t]));
        double of_all = 0;
        if (classes.smoothing > 0)
          of_all = (lse * classes.weight_sum() - classes.weighted_sum(x)) / static_cast<double>(n);
        loss[i] = static_cast<T>((1 - classes.smoothing) * of_target + classes.smoothing * of_all);
      }
    });
  });
}

/// dx_c = g (a p_c − ε/C w_c − [c = t] (1−ε) w_t), a = (1−ε) w_t + ε/C Σ w; g = dy of the row.
template <class T>
void backward(Cpu, const Classes<T>& classes, i64 rows, const T* dy, i64 dy_step, double divisor,
              const T* logits, const i64* target, const T* logsumexp, T* dx) {
  const i64 n = classes.count;
  parallel_chunks(rows, std::max<i64>(1, (1 << 13) / n), [&](i64 begin, i64 end) {
    vectorize([&]() MINIMA_INLINE {
      const double each = classes.smoothing / static_cast<double>(n);
      const double all = each * classes.weight_sum();
      for (i64 i = begin; i < end; ++i) {
        const T* x = logits + i * n;
        T* out = dx + i * n;
        const i64 t = target[i];
        if (t == classes.ignore_index) {
          std::fill_n(out, n, T(0));
          continue;
        }
        const double g = static_cast<double>(dy[i * dy_step]) / divisor;
        const double own = (1 - classes.smoothing) * classes.weight_of(t);
        const T of_p = static_cast<T>(g * (own + all)), lse = logsumexp[i];
        const T of_weight = static_cast<T>(g * each);
        if (classes.weight) {
          for (i64 c = 0; c < n; ++c)
            out[c] = of_p * math::exp(x[c] - lse) - of_weight * classes.weight[c];
        } else {
#pragma GCC ivdep  // also where the gradient is written over the logits
          for (i64 c = 0; c < n; ++c) out[c] = of_p * math::exp(x[c] - lse) - of_weight;
        }
        out[t] -= static_cast<T>(g * own);
      }
    });
  });
}

template <class T>
Classes<T> classes_of(const Tensor& logits, const CrossEntropyOptions& options) {
  return {logits.size(1), options.ignore_index, options.label_smoothing,
          options.weight.defined() ? options.weight.data<T>() : nullptr};
}

}  // namespace

CrossEntropyOut cross_entropy(const Tensor& logits, const Tensor& target,
                              const CrossEntropyOptions& options) {
  check(logits.rank() == 2 && target.rank() == 1 && logits.size(0) == target.size(),
        "cross_entropy: logits are {}, targets {}; they must be [N, C] and [N]", logits.shape(),
        target.shape());
  const i64 rows = logits.size(0), classes = logits.size(1);
  check(classes > 0, "cross_entropy: logits are {}; there must be a class", logits.shape());
  check(options.label_smoothing >= 0 && options.label_smoothing <= 1,
        "cross_entropy: label_smoothing is {}; it must lie between 0 and 1",
        options.label_smoothing);
  check(!options.weight.defined() ||
            (options.weight.shape() == Shape{classes} && options.weight.dtype() == logits.dtype()),
        "cross_entropy: weights must be one {} for each of {} classes", dtype_name(logits.dtype()),
        classes);
  for (i64 t : target.span<i64>())
    check(t == options.ignore_index || (t >= 0 && t < classes),
          "cross_entropy: target {} is none of {} classes, nor ignore_index {}", t, classes,
          options.ignore_index);

  CrossEntropyOut out;
  out.loss = Tensor::empty({rows}, logits.dtype(), logits.device());
  out.logsumexp = Tensor::empty({rows}, logits.dtype(), logits.device());
  visit_real("cross_entropy", logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto c = classes_of<T>(logits, options);
    on_device(logits.device(), [&](auto device) {
      forward(device, c, rows, logits.data<T>(), target.data<i64>(), out.loss.data<T>(),
              out.logsumexp.data<T>());
    });
    if (options.reduction != Reduction::mean) return;
    out.divisor = 0;
    for (i64 t : target.span<i64>())
      if (t != options.ignore_index) out.divisor += c.weight_of(t);
  });
  if (options.reduction != Reduction::none) out.loss = sum(out.loss, {}, KeepDims::no, out.divisor);
  return out;
}

namespace {

void write_gradient(const Tensor& dy, const Tensor& logits, const Tensor& target,
                    const CrossEntropyOptions& options, const CrossEntropyOut& out, Tensor& dx) {
  visit_real("cross_entropy", logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    on_device(logits.device(), [&](auto device) {
      backward(device, classes_of<T>(logits, options), logits.size(0), dy.data<T>(),
               options.reduction == Reduction::none ? 1 : 0, out.divisor, logits.data<T>(),
               target.data<i64>(), out.logsumexp.data<T>(), dx.data<T>());
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

#include "core/ops/feed_forward.hpp"

#include "core/cpu/simd.hpp"
#include "core/on_device.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/feed_forward_elements.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

/// f(i) for the elements of a tile, while it is in cache.
template <class F>
void on_tile(const Tile& tile, i64 hidden, const F& f) {
  vectorize([&]() MINIMA_INLINE {
    for (i64 row = tile.row; row < tile.row + tile.height; ++row)
      for (i64 at = row * hidden + tile.column; at < row * hidden + tile.column + tile.width; ++at)
        f(at);
  });
}

Shape hidden_shape(const Tensor& x, const FeedForwardWeights& weights) {
  return {x.shape().rows(), weights.w1.size(0)};
}

/// h = x w1ᵀ + b1, g = gelu(h).
struct Hidden {
  Tensor h, g;
};
template <class T>
Hidden hidden_layer(Cpu, const Tensor& x, const FeedForwardWeights& weights) {
  if constexpr (Narrow<T>) {
    const Tensor h = linear(x, weights.w1, weights.b1, Sums::rounded);
    return {h, unary<Gelu>(h.to(DType::f32)).to(h.dtype())};
  } else {
    Tensor h = Tensor::empty(hidden_shape(x, weights), x.dtype()), g = Tensor::empty_like(h);
    const i64 rows = h.size(0), hidden = h.size(1), in = weights.w1.size(1);
    T *const to = h.data<T>(), *const activated = g.data<T>();
    gemm(1, Factor{x.data<T>(), rows, in}, Factor{weights.w1.data<T>(), hidden, in}.transposed(), 0,
         to, weights.b1.data<T>(), [=](const Tile& tile) {
           on_tile(tile, hidden, HiddenForward<T>{to, activated});
         });
    return {std::move(h), std::move(g)};
  }
}
template <class T, AnyGpu Gpu>
Hidden hidden_layer(Gpu gpu, const Tensor& x, const FeedForwardWeights& weights) {
  const Tensor h = linear(x, weights.w1, weights.b1, Sums::rounded);
  Tensor g = Tensor::empty_like(h);
  each(gpu, h.size(), HiddenForward<T>{h.data<T>(), g.data<T>()});
  return {h, std::move(g)};
}

/// dh = (dy w2) ⊙ gelu′(h); h ← g.
template <class T>
Tensor hidden_gradient(Cpu, const Tensor& dy, const FeedForwardWeights& weights, Tensor& h) {
  if constexpr (Narrow<T>) {
    const Tensor wide = h.to(DType::f32);
    Tensor dh = unary_backward<Gelu>(linear_input_gradient(dy, weights.w2).reshape(h.shape()), wide)
                    .to(h.dtype());
    h = unary<Gelu>(wide).to(h.dtype());
    return dh;
  } else {
    Tensor dh = Tensor::empty_like(h);
    const i64 rows = h.size(0), hidden = h.size(1), out = weights.w2.size(0);
    const HiddenBackward<T> backward{dh.data<T>(), h.data<T>()};
    gemm(1, Factor{dy.data<T>(), rows, out}, Factor{weights.w2.data<T>(), out, hidden}, 0,
         dh.data<T>(), nullptr, [=](const Tile& tile) { on_tile(tile, hidden, backward); });
    return dh;
  }
}
template <class T, AnyGpu Gpu>
Tensor hidden_gradient(Gpu gpu, const Tensor& dy, const FeedForwardWeights& weights, Tensor& h) {
  Tensor dh = linear_input_gradient(dy, weights.w2, Sums::rounded).reshape(h.shape());
  each(gpu, h.size(), HiddenBackward<T>{dh.data<T>(), h.data<T>()});
  return dh;
}

}  // namespace

FeedForwardResult feed_forward(const Tensor& x, const FeedForwardWeights& weights) {
  const auto& [w1, b1, w2, b2] = weights;
  check(x.rank() >= 1 && w1.rank() == 2 && w2.rank() == 2 && x.size(-1) == w1.size(1) &&
            w1.size(0) == w2.size(1) && b1.shape() == Shape{w1.size(0)} &&
            b2.shape() == Shape{w2.size(0)},
        "feed_forward: x is {}, w1 {}, b1 {}, w2 {}, b2 {}; they must be [..., in], [hidden, in], "
        "[hidden], [out, hidden], [out]",
        x.shape(), w1.shape(), b1.shape(), w2.shape(), b2.shape());
  check_together("feed_forward", x, w1, b1, w2, b2);
  check_one_type("feed_forward", {x.dtype(), w1.dtype(), w2.dtype()});
  check_one_type("feed_forward", {widened(x.dtype()), b1.dtype(), b2.dtype()});
  Hidden hidden;
  visit_float("feed_forward", x.dtype(), [&](auto zero) {
    on_device(x.device(),
              [&](auto device) { hidden = hidden_layer<decltype(zero)>(device, x, weights); });
  });
  auto& [h, g] = hidden;
  return {linear(g, w2, b2, Sums::rounded).reshape(x.shape().with(-1, w2.size(0))),
          h.reshape(hidden_shape(x, weights))};
}

FeedForwardGradients feed_forward_backward(const Tensor& dy, const Tensor& x, Tensor h,
                                           const FeedForwardWeights& weights, bool need_dx,
                                           Tensor so_far) {
  const Tensor& w1 = weights.w1;
  check(x.rank() >= 1 && h.shape() == hidden_shape(x, weights) && dy.rank() >= 1 &&
            dy.shape().rows() == h.size(0) && dy.size(-1) == weights.w2.size(0),
        "feed_forward: the gradient is {}, x {}, the hidden layer {}, w1 {}, w2 {}; they must be "
        "[..., out], [..., in], [rows, hidden], [hidden, in], [out, hidden]",
        dy.shape(), x.shape(), h.shape(), w1.shape(), weights.w2.shape());
  Tensor dh;
  visit_float("feed_forward", dy.dtype(), [&](auto zero) {
    on_device(dy.device(),
              [&](auto device) { dh = hidden_gradient<decltype(zero)>(device, dy, weights, h); });
  });
  const Tensor& g = h;
  auto [dw2, db2] = linear_gradients(dy, g);
  auto [dw1, db1] = linear_gradients(dh, x);
  Tensor dx;
  if (need_dx) {
    if (so_far.defined()) so_far = so_far.reshape({dh.size(0), w1.size(1)});
    dx = linear_input_gradient(dh, w1, Sums::kept, std::move(so_far)).reshape(x.shape());
  }
  return {std::move(dx), std::move(dw1), std::move(db1), std::move(dw2), std::move(db2)};
}

}  // namespace minima::ops

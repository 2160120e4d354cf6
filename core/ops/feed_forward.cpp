#include "core/ops/feed_forward.hpp"

#include "core/cpu/simd.hpp"
#include "core/on_device.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

/// g = gelu(h), for one tile.
template <class T>
void gelu(const Tile& tile, i64 hidden, const T* h, T* g) {
  vectorize([&]() MINIMA_INLINE {
    for (i64 row = tile.row; row < tile.row + tile.height; ++row)
      for (i64 at = row * hidden + tile.column; at < row * hidden + tile.column + tile.width; ++at)
        g[at] = Gelu{}(h[at]);
  });
}

/// dh ← dg ⊙ gelu′(h), g = gelu(h), for one tile; dh comes in as dg, g takes the place of h.
template <class T>
void gelu_backward(const Tile& tile, i64 hidden, T* dh, T* h) {
  vectorize([&]() MINIMA_INLINE {
    for (i64 row = tile.row; row < tile.row + tile.height; ++row)
      for (i64 at = row * hidden + tile.column; at < row * hidden + tile.column + tile.width;
           ++at) {
        const T x = h[at];
        dh[at] *= Gelu{}.derivative(x);
        h[at] = Gelu{}(x);
      }
  });
}

/// h = x w1ᵀ + b1, g = gelu(h).
template <class T>
void hidden_layer(Cpu, const Tensor& x, const FeedForwardWeights& weights, Tensor& h, Tensor& g) {
  const i64 rows = h.size(0), hidden = h.size(1), in = weights.w1.size(1);
  gemm<T>(Transpose::no, Transpose::yes, rows, hidden, in, 1, x.data<T>(), in, weights.w1.data<T>(),
          in, 1, h.data<T>(), hidden, filled_with(weights.b1.data<T>(), h.data<T>(), hidden),
          [&](const Tile& tile) { gelu(tile, hidden, h.data<T>(), g.data<T>()); });
}
template <class T, AnyGpu Gpu>
void hidden_layer(Gpu, const Tensor& x, const FeedForwardWeights& weights, Tensor& h, Tensor& g) {
  h = linear(x, weights.w1, weights.b1).reshape(h.shape());
  g = unary<Gelu>(h);
}

/// dh = (dy w2) ⊙ gelu′(h); h ← g.
template <class T>
void hidden_gradient(Cpu, const Tensor& dy, const FeedForwardWeights& weights, Tensor& h,
                     Tensor& dh) {
  const i64 rows = h.size(0), hidden = h.size(1), out = weights.w2.size(0);
  gemm<T>(Transpose::no, Transpose::no, rows, hidden, out, 1, dy.data<T>(), out,
          weights.w2.data<T>(), hidden, 0, dh.data<T>(), hidden, {},
          [&](const Tile& tile) { gelu_backward(tile, hidden, dh.data<T>(), h.data<T>()); });
}
template <class T, AnyGpu Gpu>
void hidden_gradient(Gpu, const Tensor& dy, const FeedForwardWeights& weights, Tensor& h,
                     Tensor& dh) {
  dh = unary_backward<Gelu>(linear_input_gradient(dy, weights.w2).reshape(h.shape()), h);
  h = unary<Gelu>(h);
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
  const i64 rows = x.shape().rows(), hidden = w1.size(0);
  Tensor h = Tensor::empty({rows, hidden}, x.dtype(), x.device());
  Tensor g = Tensor::empty_like(h);
  visit_real("feed_forward", x.dtype(), [&](auto zero) {
    on_device(x.device(),
              [&](auto device) { hidden_layer<decltype(zero)>(device, x, weights, h, g); });
  });
  std::vector<i64> sizes(x.shape().begin(), x.shape().end());
  sizes.back() = w2.size(0);
  return {linear(g, w2, b2).reshape(Shape(sizes)), std::move(h)};
}

FeedForwardGradients feed_forward_backward(const Tensor& dy, const Tensor& x, Tensor h,
                                           const FeedForwardWeights& weights, bool need_dx) {
  const Tensor& w1 = weights.w1;
  Tensor dh = Tensor::empty_like(h);
  visit_real("feed_forward", dy.dtype(), [&](auto zero) {
    on_device(dy.device(),
              [&](auto device) { hidden_gradient<decltype(zero)>(device, dy, weights, h, dh); });
  });
  const Tensor& g = h;
  auto [dw2, db2] = linear_gradients(dy, g);
  auto [dw1, db1] = linear_gradients(dh, x);
  Tensor dx = need_dx ? linear_input_gradient(dh, w1).reshape(x.shape()) : Tensor();
  return {std::move(dx), std::move(dw1), std::move(db1), std::move(dw2), std::move(db2)};
}

}  // namespace minima::ops

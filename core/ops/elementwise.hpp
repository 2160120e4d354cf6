/// Elementwise ops. An op is one struct that holds its formula and its derivative; the loops over
/// tensors, the broadcasting, autograd and the tests are made from it.
///
///     Tensor y = ops::unary<ops::Gelu>(x);
///     Tensor z = ops::binary<ops::Mul>(x, y);      // shapes broadcast as in NumPy
///
/// All take f32 or f64 and throw Error for other types, for operands of different types, and for
/// shapes that do not broadcast. A new op is a struct here, its name in UnaryOps or BinaryOps
/// below, and a function in autograd/functions.hpp.
#pragma once

#include <cmath>
#include <limits>
#include <optional>

#include "core/math.hpp"
#include "core/tensor.hpp"

namespace minima::ops {

// ---- one argument
//
// `derivative` gets the one tensor that the op keeps for backward: its input or its output,
// whichever makes the formula short or is alive anyway.
enum class Keeps { input, output };

/// x Φ(x), Φ the normal distribution function. Hendrycks & Gimpel 2016, arXiv:1606.08415.
/// dy/dx = Φ(x) + x φ(x).
struct Gelu {
  static constexpr const char* name = "gelu";
  static constexpr Keeps keeps = Keeps::input;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return x * math::normal_cdf(x, math::exp(T(-0.5) * x * x));
  }
  template <class T>
  MINIMA_HD T derivative(T x) const {
    const T gaussian = math::exp(T(-0.5) * x * x);
    return math::normal_cdf(x, gaussian) + x * T(0.3989422804014327) * gaussian;  // φ: 1/√(2π)
  }
};

/// The same with Φ(x) ≈ ½ (1 + tanh u), u = √(2/π) (x + 0.044715 x³).
struct GeluTanh {
  static constexpr const char* name = "gelu_tanh";
  static constexpr Keeps keeps = Keeps::input;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return T(0.5) * x * (1 + math::tanh(inner(x)));
  }
  template <class T>
  MINIMA_HD T derivative(T x) const {
    const T t = math::tanh(inner(x));
    const T falls = 1 - t * t;  // 0 from some |x| on, whose square may overflow
    const T grows = falls == 0 ? T(1) : 1 + T(0.134145) * x * x;
    return T(0.5) * (1 + t) + T(0.5) * x * falls * T(kRoot) * grows;
  }
  static constexpr double kRoot = 0.7978845608028654;  // √(2/π)
  template <class T>
  MINIMA_HD static T inner(T x) {
    return T(kRoot) * (x + T(0.044715) * x * x * x);
  }
};

/// max(x, 0). dy/dx = 0 where y ≤ 0, else 1.
struct Relu {
  static constexpr const char* name = "relu";
  static constexpr Keeps keeps = Keeps::output;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return x < 0 ? T(0) : x;  // NaN stays
  }
  template <class T>
  MINIMA_HD T derivative(T y) const {
    return y <= 0 ? T(0) : T(1);  // NaN's is passed on
  }
};

/// dy/dx = 1 − y².
struct Tanh {
  static constexpr const char* name = "tanh";
  static constexpr Keeps keeps = Keeps::output;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return math::tanh(x);
  }
  template <class T>
  MINIMA_HD T derivative(T y) const {
    return 1 - y * y;
  }
};

/// σ(x) = 1 / (1 + e⁻ˣ). dy/dx = y (1 − y).
struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  static constexpr Keeps keeps = Keeps::output;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return 1 / (1 + math::exp(-x));
  }
  template <class T>
  MINIMA_HD T derivative(T y) const {
    return y * (1 - y);
  }
};

/// x σ(x). dy/dx = σ(x) (1 + x (1 − σ(x))).
struct Silu {
  static constexpr const char* name = "silu";
  static constexpr Keeps keeps = Keeps::input;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return x / (1 + math::exp(-x));
  }
  template <class T>
  MINIMA_HD T derivative(T x) const {
    const T s = Sigmoid{}(x);
    return s * (1 + x * (1 - s));
  }
};

/// dy/dx = y.
struct Exp {
  static constexpr const char* name = "exp";
  static constexpr Keeps keeps = Keeps::output;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return math::exp(x);
  }
  template <class T>
  MINIMA_HD T derivative(T y) const {
    return y;
  }
};

/// Natural logarithm. dy/dx = 1/x.
struct Log {
  static constexpr const char* name = "log";
  static constexpr Keeps keeps = Keeps::input;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return math::log(x);
  }
  template <class T>
  MINIMA_HD T derivative(T x) const {
    return 1 / x;
  }
};

/// dy/dx = 1 / (2y).
struct Sqrt {
  static constexpr const char* name = "sqrt";
  static constexpr Keeps keeps = Keeps::output;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return std::sqrt(x);
  }
  template <class T>
  MINIMA_HD T derivative(T y) const {
    return T(0.5) / y;
  }
};

/// 1/√x. dy/dx = −y³/2.
struct Rsqrt {
  static constexpr const char* name = "rsqrt";
  static constexpr Keeps keeps = Keeps::output;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return 1 / std::sqrt(x);
  }
  template <class T>
  MINIMA_HD T derivative(T y) const {
    return T(-0.5) * y * y * y;
  }
};

/// |x|. dy/dx = sign(x), 0 at 0.
struct Abs {
  static constexpr const char* name = "abs";
  static constexpr Keeps keeps = Keeps::input;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return std::abs(x);
  }
  template <class T>
  MINIMA_HD T derivative(T x) const {
    return x > 0 ? T(1) : (x < 0 ? T(-1) : T(0));
  }
};

/// −x. dy/dx = −1.
struct Neg {
  static constexpr const char* name = "neg";
  static constexpr Keeps keeps = Keeps::output;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return -x;
  }
  template <class T>
  MINIMA_HD T derivative(T) const {
    return -1;
  }
};

/// x². dy/dx = 2x.
struct Square {
  static constexpr const char* name = "square";
  static constexpr Keeps keeps = Keeps::input;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return x * x;
  }
  template <class T>
  MINIMA_HD T derivative(T x) const {
    return 2 * x;
  }
};

/// 2/√π ∫₀ˣ e^(−t²) dt. dy/dx = 2/√π e^(−x²).
struct Erf {
  static constexpr const char* name = "erf";
  static constexpr Keeps keeps = Keeps::input;
  template <class T>
  MINIMA_HD T operator()(T x) const {
    return math::erf(x);
  }
  template <class T>
  MINIMA_HD T derivative(T x) const {
    return T(1.1283791670955126) * math::exp(-x * x);
  }
};

// ---- two arguments, with the partial derivative for each

/// a + b. Its gradient is that of the result itself, so there are no partial derivatives.
struct Add {
  static constexpr const char* name = "add";
  template <class T>
  MINIMA_HD T operator()(T a, T b) const {
    return a + b;
  }
};

/// a − b. The gradients are that of the result and its negative.
struct Sub {
  static constexpr const char* name = "sub";
  template <class T>
  MINIMA_HD T operator()(T a, T b) const {
    return a - b;
  }
};

struct Mul {
  static constexpr const char* name = "mul";
  template <class T>
  MINIMA_HD T operator()(T a, T b) const {
    return a * b;
  }
  template <class T>
  MINIMA_HD T partial_a(T, T b) const {
    return b;
  }
  template <class T>
  MINIMA_HD T partial_b(T a, T) const {
    return a;
  }
};

struct Div {
  static constexpr const char* name = "div";
  template <class T>
  MINIMA_HD T operator()(T a, T b) const {
    return a / b;
  }
  template <class T>
  MINIMA_HD T partial_a(T, T b) const {
    return 1 / b;
  }
  template <class T>
  MINIMA_HD T partial_b(T a, T b) const {
    return -(a / b) / b;  // b² may overflow, or be 0
  }
};

/// The larger of both; where they are equal each gets half of the gradient. NaN wins; then both get
/// all of it, as in PyTorch.
struct Maximum {
  static constexpr const char* name = "maximum";
  template <class T>
  MINIMA_HD T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
  template <class T>
  MINIMA_HD T partial_a(T a, T b) const {
    return a < b ? T(0) : (a == b ? T(0.5) : T(1));
  }
  template <class T>
  MINIMA_HD T partial_b(T a, T b) const {
    return partial_a(b, a);
  }
};

/// The smaller of both; where they are equal each gets half of the gradient. NaN wins; then both get
/// all of it, as in PyTorch.
struct Minimum {
  static constexpr const char* name = "minimum";
  template <class T>
  MINIMA_HD T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
  template <class T>
  MINIMA_HD T partial_a(T a, T b) const {
    return a > b ? T(0) : (a == b ? T(0.5) : T(1));
  }
  template <class T>
  MINIMA_HD T partial_b(T a, T b) const {
    return partial_a(b, a);
  }
};

/// aᵇ. ∂/∂a = b aᵇ⁻¹, ∂/∂b = aᵇ ln a; both are 0 where their limit at a = 0 is 0.
struct Pow {
  static constexpr const char* name = "pow";
  template <class T>
  MINIMA_HD T operator()(T a, T b) const {
    return std::pow(a, b);
  }
  template <class T>
  MINIMA_HD T partial_a(T a, T b) const {
    return b == 0 ? T(0) : b * std::pow(a, b - 1);
  }
  template <class T>
  MINIMA_HD T partial_b(T a, T b) const {
    return a == 0 && b >= 0 ? T(0) : std::pow(a, b) * math::log(a);
  }
};

/// (a − b)², the term of the mean squared error.
struct SquaredError {
  static constexpr const char* name = "mse";
  template <class T>
  MINIMA_HD T operator()(T a, T b) const {
    return (a - b) * (a - b);
  }
  template <class T>
  MINIMA_HD T partial_a(T a, T b) const {
    return 2 * (a - b);
  }
  template <class T>
  MINIMA_HD T partial_b(T a, T b) const {
    return 2 * (b - a);
  }
};

/// The cross-entropy of a probability t against the logit x, −t ln σ(x) − (1 − t) ln(1 − σ(x)),
/// written so that nothing overflows and no difference hides what is small: max(x, 0) − x t + ln(1 + e^−|x|).
struct BinaryCrossEntropy {
  static constexpr const char* name = "bce_with_logits";
  template <class T>
  MINIMA_HD T operator()(T x, T t) const {
    return (x > 0 ? x * (1 - t) : -x * t) + std::log1p(math::exp(-std::abs(x)));
  }
  template <class T>
  MINIMA_HD T partial_a(T x, T t) const {
    return Sigmoid{}(x)-t;
  }
  template <class T>
  MINIMA_HD T partial_b(T x, T) const {
    return -x;
  }
};

/// 1 where a = b, else 0. Not differentiable.
struct Equal {
  static constexpr const char* name = "equal";
  template <class T>
  MINIMA_HD T operator()(T a, T b) const {
    return a == b ? T(1) : T(0);
  }
};

// ---- on tensors

/// y = Op(x), of the shape of x.
template <class Op>
Tensor unary(const Tensor& x);
/// dx = dy · Op′; `kept` is x or y, as Op::keeps says.
template <class Op>
Tensor unary_backward(const Tensor& dy, const Tensor& kept);

/// y = Op(a, b), of the shape that both broadcast to.
template <class Op>
Tensor binary(const Tensor& a, const Tensor& b);
/// dy · ∂Op/∂a, summed over the dimensions along which a was broadcast: of the shape of a.
template <class Op>
Tensor binary_backward_a(const Tensor& dy, const Tensor& a, const Tensor& b);
/// The same for b.
template <class Op>
Tensor binary_backward_b(const Tensor& dy, const Tensor& a, const Tensor& b);

/// a where the condition is not 0, else b. All three broadcast; the condition may have any type.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

/// A constant of the type and on the device of x, to be used as an operand beside it.
inline Tensor scalar_like(const Tensor& x, double value) {
  return Tensor::full({}, value, x.dtype(), x.device());
}

/// The shape that a and b broadcast to: aligned at the last dimension, sizes equal or 1. None where they do not fit.
std::optional<Shape> common_shape(const Shape& a, const Shape& b);
/// The same. Throws Error, naming the op, when they do not fit.
Shape broadcast_shape(const char* op, const Shape& a, const Shape& b);

// The ops that the templates above exist for.
template <class... Ops>
struct OpList {};
using UnaryOps =
    OpList<Gelu, GeluTanh, Relu, Tanh, Sigmoid, Silu, Exp, Log, Sqrt, Rsqrt, Abs, Neg, Square, Erf>;
using BinaryOps = OpList<Mul, Div, Maximum, Minimum, Pow, SquaredError, BinaryCrossEntropy>;
using BinaryOpsWithoutBackward = OpList<Add, Sub, Equal>;

}  // namespace minima::ops

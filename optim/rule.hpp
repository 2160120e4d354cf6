/// Rule: the contract that an optimizer's formula fulfils. Read optim/adamw.hpp beside this page.
///
/// An *elementwise* rule changes one number by its gradient and its own state. It is a struct with
///
///     static constexpr std::string_view name;                   as on the command line
///     struct Options { …; fields() };                           see optim/options.hpp; one of them is `lr`,
///                                                               a double or an optional<double>
///     static std::vector<Slot> slots(const Options&);           the state it keeps, at most six
///     static R prepare(const Options&, i64 t);                  its constants for step t (from 1)
///     template <class T>
///     void operator()(T& p, T g, T& m, …) const;                the formula; T& for each slot
///
/// and, where wanted,
///
///     static void validate(const Options&);                     throws Error for an illegal mix
///     static bool keeps_step(const Options&);                   false where no constant depends on t (0 then)
///     static constexpr std::array patterns{std::pair{"full", &Options::full}};
///         options that choose parameters by name (optim/storage/plan.hpp): one that matches none is refused
///     template <class F> void constants(const F& f);            f("β₁", beta1); …: names for a trace, which
///         knows a float member by its address: the formula must use the member itself, not a copy
///
/// The scalar T is `float` in the kernel (CPU with every storage, CUDA), `double` in a reference,
/// and `Traced` (optim/engine/traced.hpp) where a step is explained: the formula stands once. Hence:
/// members and operator() are MINIMA_HD. A formula uses + − * / and this page's `sqrt`, `abs`, `sign`, `larger`,
/// `smaller` and `named`, on T, float members, and literals that are floats or whole numbers (0.9, with which a
/// kernel would compute in 64 bits, does not compile); a condition in it tests an option, never a T.
/// Constants are formed in double and rounded once: 1 − 0.999 formed in float is off by 1.3e-5. They depend
/// on t and the options alone: what depends on all earlier steps (NAdam's product of momenta) needs a matrix
/// rule with a slot of `Shape{}`, like Adafactor's RMS, which only the first matrix changes.
///
/// A *matrix* rule (Adafactor) needs sums over rows, columns or the whole tensor, or the largest of a row or column.
/// (No rule can have a number that is one for all parameters together, such as D-Adaptation's.) It has
/// `slots(options, parameter)`, which sees name and shape, and, instead of prepare and operator(), the
/// passes of a step (optim/engine/matrix_pass.hpp):
///
///     template <class Passes>
///     static void step(const Options&, Passes& passes);
///     static i64 temporary(const Options&, const ParameterShape&);
///         how many floats a step allocates on the CPU: only for a rule that calls by_kind; of the others the sums
///         of their passes are counted
///
/// The contract of both: t belongs to the parameter and is advanced by the engine; state starts at
/// zero; a rule computes with fresh state, and rounding for storage comes after the weight has
/// moved; schedules act on Options::lr; clipping, unscaling and non-finite gradients are the
/// engine's: its guard leaves the weight of a non-finite entry alone and zeroes its slots.
#pragma once

#include <cmath>
#include <concepts>
#include <optional>
#include <string>
#include <vector>

#include "core/shape.hpp"
#include "core/types.hpp"
#include "optim/options.hpp"

namespace minima {

/// A parameter as far as its state is concerned.
struct ParameterShape {
  std::string name;
  Shape shape;
};

/// Which code map a slot takes in 8 bits: `nonnegative` where it never holds a negative number.
enum class Sign : u8 { any, nonnegative };

/// One named array of state. Names are PyTorch's: `exp_avg`, `exp_avg_sq`, `momentum_buffer`; the
/// letter is the paper's, which a trace prints: a slot without one has no line in it.
struct Slot {
  std::string name, letter = {};
  Sign sign = Sign::any;
  /// Absent: the parameter's. Only such a slot is stored in fewer bits than fp32; what has a shape of
  /// its own (means of rows and columns, say) sums up many elements.
  std::optional<Shape> shape = {};
};

/// xᵗ by repeated squaring: the same bits on every device, which `pow` does not promise.
MINIMA_HD double integer_power(double x, i64 t) {
  double result = 1;
  for (; t > 0; t >>= 1, x *= x)
    if (t & 1) result *= x;
  return result;
}

/// How a constant is rounded, once, after it has been formed in double.
MINIMA_HD float to_float(double x) { return static_cast<float>(x); }

/// For formulas outside of this namespace, which need `using namespace minima`: without these, sqrt(x) and abs(x) would be
/// C's there, of a double and an int.
template <std::floating_point T>
MINIMA_HD T sqrt(T x) {
  return std::sqrt(x);
}
template <std::floating_point T>
MINIMA_HD T abs(T x) {
  return std::abs(x);
}

/// −1, 0 or 1, NaN for NaN; the larger and the smaller of two, a where one is NaN. Functions, so that a trace shows them.
template <class T>
MINIMA_HD T sign(T x) {
  return x != x ? x : static_cast<T>((x > 0) - (x < 0));
}
template <class T>
MINIMA_HD T larger(T a, T b) {
  return a < b ? b : a;
}
template <class T>
MINIMA_HD T smaller(T a, T b) {
  return b < a ? b : a;
}

/// The gradient, negated to maximize, with L2 decay: g + λ p.
template <class T>
MINIMA_HD T decayed(T p, T g, const float& weight_decay, bool maximize) {
  return (maximize ? T(0 - g) : g) + weight_decay * p;
}

/// Gives an intermediate result a name in a trace; elsewhere it is x.
template <class T>
MINIMA_HD T named(const char*, T x) {
  return x;
}

template <class R>
concept ElementwiseRule = requires(const typename R::Options& options, i64 t) {
  { R::slots(options) } -> std::convertible_to<std::vector<Slot>>;
  { R::prepare(options, t) } -> std::same_as<R>;
};

template <class R>
concept MatrixRule = requires(const typename R::Options& options, const ParameterShape& parameter) {
  { R::slots(options, parameter) } -> std::convertible_to<std::vector<Slot>>;
};

}  // namespace minima

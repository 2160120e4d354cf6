#include <functional>

#include "core/ops/elementwise.hpp"
#include "core/rng.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::ops;
using test::about, test::check_close;

namespace {

Tensor uniform(const Shape& shape, double low = -3, double high = 3) {
  RandomSequence sequence(static_cast<u64>(shape.size()), "elementwise");
  Tensor x = Tensor::empty(shape, DType::f64);
  for (double& value : x.span<double>()) value = low + (high - low) * sequence.uniform();
  return x;
}

/// The element of x that stands beside element `flat` of a result of `shape`.
double beside(const Tensor& x, const Shape& shape, i64 flat) {
  i64 at = 0, step = 1;
  for (int axis = -1; axis >= -shape.rank(); --axis) {
    const i64 index = flat % shape[axis];
    flat /= shape[axis];
    if (-axis > x.rank()) continue;
    if (x.size(axis) != 1) at += index * step;
    step *= x.size(axis);
  }
  return x.data<double>()[at];
}

template <class... Ops>
void check_f32(OpList<Ops...>, const std::function<Tensor(std::string_view op)>& input) {
  const auto one = [&](auto op) {
    using Op = decltype(op);
    CAPTURE(Op::name);
    const Tensor x = input(Op::name), narrow = x.to(DType::f32), wide = narrow.to(DType::f64);
    const Tensor dy = uniform(x.shape());
    check_close(unary<Op>(narrow), unary<Op>(wide), {2e-6, 2e-6});
    const auto kept = [](const Tensor& in) {
      return Op::keeps == Keeps::input ? in : unary<Op>(in);
    };
    check_close(unary_backward<Op>(dy.to(DType::f32), kept(narrow)),
                unary_backward<Op>(dy.to(DType::f32).to(DType::f64), kept(wide)), {5e-6, 5e-6});
  };
  (one(Ops{}), ...);
}

}  // namespace

TEST_CASE("every unary op in f32 is close to the same op in f64, also in loops' remainders") {
  for (i64 size : {0, 1, 15, 17, 16383, 16385})
    check_f32(UnaryOps{}, [&](std::string_view op) {
      const bool positive = op == "log" || op == "sqrt" || op == "rsqrt";
      return positive ? uniform({size}, 0.1, 6) : uniform({size}, -6, 6);
    });
}

TEST_CASE("a quotient's gradients are right where the divisor's square is none") {
  const auto partial = [](float a, float b) { return Div{}.partial_b(a, b); };
  CHECK(partial(0, 1e-25f) == 0);
  CHECK(partial(1e-25f, 1e-25f) == about(-1e25));
  CHECK(partial(1e4f, -1e20f) == about(-1e-36));
}

TEST_CASE("operands broadcast as in NumPy, whatever is repeated") {
  const std::pair<Shape, Shape> shapes[] = {
      {{}, {}},
      {{5}, {1}},
      {{3, 4}, {3, 4}},
      {{3, 4}, {4}},
      {{3, 1}, {1, 4}},
      {{3, 1}, {3, 1200}},
      {{2, 1, 4, 1}, {3, 1, 5}},
      {{2, 3, 1, 5}, {1, 1, 4, 1}},
      {{2, 3, 4}, {3, 1}},
      {{7, 513}, {513}},
      {{40000}, {}},
      {{1, 1, 17000}, {2, 1, 1}},
      {{2000, 17}, {2000, 1}},
      {{3, 0}, {1}},
      {{1, 4}, {0, 1}},
  };
  for (const auto& [p, q] : shapes)
    for (const auto& [left, right] : {std::pair(p, q), std::pair(q, p)}) {
      CAPTURE(fmt::format("{} and {}", left, right));
      const Tensor a = uniform(left), b = uniform(right);
      const Tensor y = binary<Sub>(a, b);
      Tensor expected = Tensor::empty(broadcast_shape("test", left, right), DType::f64);
      for (i64 i = 0; i < expected.size(); ++i)
        expected.data<double>()[i] =
            beside(a, expected.shape(), i) - beside(b, expected.shape(), i);
      check_close(y, expected, {0, 0});
      check_close(binary<Sub>(a.to(DType::f32), b.to(DType::f32)), expected, {1e-6, 1e-6});
    }
}

TEST_CASE("where an extremum is a tie, both operands get half of the gradient") {
  const Tensor a = Tensor::from(std::vector{1.0f, 2.0f, 3.0f}), b = Tensor::full({3}, 2),
               dy = Tensor::full({3}, 1);
  check_close(binary_backward_a<Maximum>(dy, a, b), Tensor::from(std::vector{0.0f, 0.5f, 1.0f}));
  check_close(binary_backward_b<Maximum>(dy, a, b), Tensor::from(std::vector{1.0f, 0.5f, 0.0f}));
  check_close(binary_backward_a<Minimum>(dy, a, b), Tensor::from(std::vector{1.0f, 0.5f, 0.0f}));
}

TEST_CASE("the gradients of a power of 0 are its limits, not 0 · ∞") {
  const Tensor zero = Tensor::zeros({3}), dy = Tensor::full({3}, 1),
               exponent = Tensor::from(std::vector{0.0f, 1.0f, 2.0f});
  check_close(binary_backward_a<Pow>(dy, zero, exponent),
              Tensor::from(std::vector{0.0f, 1.0f, 0.0f}));
  check_close(binary_backward_b<Pow>(dy, zero, exponent), Tensor::zeros({3}));
}

TEST_CASE("NaN comes through extrema, to both operands' gradients, and through ReLU") {
  for (const auto& partial : {Maximum{}.partial_a(NAN, 1.0f), Maximum{}.partial_b(NAN, 1.0f),
                              Minimum{}.partial_a(1.0f, NAN), Minimum{}.partial_b(1.0f, NAN)})
    CHECK(partial == 1);
  const Tensor nan = Tensor::full({20}, NAN), one = Tensor::full({20}, 1);
  for (const Tensor& y : {binary<Maximum>(nan, one), binary<Maximum>(one, nan),
                          binary<Minimum>(nan, one), binary<Minimum>(one, nan), unary<Relu>(nan)})
    for (float value : y.span<float>()) CHECK(std::isnan(value));
}

TEST_CASE("GELU keeps its relative accuracy where it is almost 0, and its limits") {
  for (float x = -6; x < 0; x += 0.01f) {
    const double expected = x * 0.5 * std::erfc(-static_cast<double>(x) / std::sqrt(2.0));
    CHECK(Gelu{}(x) == about(expected, 2e-6));
  }
  CHECK(Gelu{}(-1e30f) == 0);
  CHECK(Gelu{}(1e30f) == 1e30f);
  CHECK(Gelu{}.derivative(1e30f) == 1);
}

TEST_CASE("the cross-entropy of a probability keeps its relative accuracy where it is almost 0") {
  const BinaryCrossEntropy loss;
  for (float x : {0.5f, 5.0f, 20.0f, 80.0f}) {
    const double expected = std::log1p(std::exp(-double{x}));
    CHECK(loss(x, 1.0f) == about(expected, 1e-6));
    CHECK(loss(-x, 0.0f) == about(expected, 1e-6));
  }
  CHECK(loss(256.75f, 0.9999f) == about(256.75 * (1 - double{0.9999f}), 1e-6));
}

TEST_CASE("shapes and types that do not fit are named") {
  const Tensor a = Tensor::zeros({3, 4}), b = Tensor::zeros({3});
  CHECK_THROWS_WITH_AS(binary<Mul>(a, b),
                       "mul: [3, 4] and [3] do not broadcast; counted from the last dimension, "
                       "sizes must be equal or 1",
                       Error);
  CHECK_THROWS_WITH_AS(binary<Mul>(a, a.to(DType::f64)),
                       "mul: operands are f32 on cpu and f64 on cpu; they must agree", Error);
  CHECK_THROWS_WITH_AS(unary<Gelu>(a.to(DType::i64)), "gelu: takes f32 or f64, not i64", Error);
}

TEST_CASE("a condition counts in its own type, however small it is") {
  const Tensor a = Tensor::full({3}, 1), b = Tensor::full({3}, 2);
  const Tensor y = where(Tensor::from(std::vector<double>{1e-60, 0, std::nan("")}), a, b);
  CHECK(std::ranges::equal(y.span<float>(), std::vector<float>{1, 2, 1}));
  const Tensor chosen = Tensor::from(std::vector{1.0f, 0.0f, 2.0f});
  for (const DType type : {DType::bf16, DType::f16, DType::f64, DType::u8, DType::i64})
    check_close(where(chosen.to(type), a, b), where(chosen, a, b));
}

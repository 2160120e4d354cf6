/// exp, erf and tanh: how exact they are, their ends, and that no vector unit changes a bit.
#include "core/math.hpp"

#include <bit>
#include <limits>
#include <vector>

#include "core/cpu/simd.hpp"
#include "core/rng.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

/// The worst error over every 4,001st float of [low, high] (0 ≤ low), of both signs where `both`,
/// in units in the last place.
template <class F, class Reference>
double worst_error(float low, float high, bool negative, const F& f, const Reference& reference) {
  double worst = 0;
  for (u32 bits = std::bit_cast<u32>(low); bits <= std::bit_cast<u32>(high); bits += 4001) {
    const float x = std::bit_cast<float>(bits) * (negative ? -1.0f : 1.0f);
    const double expected = reference(double{x});
    const float rounded = static_cast<float>(expected);
    const double ulp = std::abs(double{std::nextafter(rounded, INFINITY)} - double{rounded});
    worst = std::max(worst, std::abs(double{f(x)} - expected) / ulp);
  }
  return worst;
}

}  // namespace

TEST_CASE("exp, erf and tanh are as exact as their header says") {
  const auto exp = [](float x) { return math::exp(x); };
  const auto erf = [](float x) { return math::erf(x); };
  const auto tanh = [](float x) { return math::tanh(x); };
  const auto exact_exp = [](double x) { return std::exp(x); };
  const auto exact_erf = [](double x) { return std::erf(x); };
  const auto exact_tanh = [](double x) { return std::tanh(x); };
  for (bool negative : {false, true}) {
    CAPTURE(negative);
    CHECK(worst_error(1e-30f, negative ? 87.3f : 88.7f, negative, exp, exact_exp) < 1);
    CHECK(worst_error(1e-30f, 10, negative, erf, exact_erf) < 2.5);
    CHECK(worst_error(1e-30f, 30, negative, tanh, exact_tanh) < 1.4);
  }
}

TEST_CASE("exp, erf and tanh keep zeros, infinities and NaN") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(math::exp(0.0f) == 1);
  CHECK(math::exp(-infinity) == 0);
  CHECK(math::exp(-1000.0f) == 0);
  CHECK(math::exp(infinity) == infinity);
  CHECK(math::exp(89.0f) == infinity);
  CHECK(std::isnan(math::exp(nan)));
  for (float sign : {1.0f, -1.0f}) {
    CHECK(std::signbit(math::erf(sign * 0.0f)) == std::signbit(sign));
    CHECK(std::signbit(math::tanh(sign * 0.0f)) == std::signbit(sign));
    CHECK(math::erf(sign * infinity) == sign);
    CHECK(math::tanh(sign * infinity) == sign);
  }
  CHECK(std::isnan(math::erf(nan)));
  CHECK(std::isnan(math::tanh(nan)));
}

TEST_CASE("a loop has the same bits on every vector unit") {
  constexpr int n = 1000;  // no multiple of a vector: the loop's end counts, too
  std::vector<float> x(n);
  RandomSequence random(1, "units");
  for (float& value : x) value = static_cast<float>(3 * random.normal());
  const auto on = [&](VectorUnit unit) {
    std::vector<float> y(n);
    const auto loop = [&]() MINIMA_INLINE {
      for (std::size_t i = 0; i < n; ++i)
        y[i] = math::exp(x[i]) * 0.3f + math::erf(x[i]) - math::tanh(x[i]) / 7 +
               std::sqrt(x[i] * x[i]);
    };
    if (unit == VectorUnit::base) detail::call_base(loop);
#if defined(__x86_64__)
    if (unit == VectorUnit::avx2) detail::call_avx2(loop);
    if (unit == VectorUnit::avx512) detail::call_avx512(loop);
#endif
    return y;
  };
  const std::vector<float> expected = on(VectorUnit::base);
  for (VectorUnit unit : {VectorUnit::avx2, VectorUnit::avx512}) {
    if (unit > widest_vector_unit()) {
      MESSAGE("skipped: this processor has no " << name(unit));
      continue;
    }
    CAPTURE(name(unit));
    CHECK(on(unit) == expected);
  }
}

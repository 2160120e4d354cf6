#include <cmath>
#include <functional>
#include <map>

#include "core/ops/layout.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/reduce.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::ops;
using test::check_close;

namespace {

Tensor doubles(const Shape& shape) { return test::normal(shape, fmt::format("{}", shape.size())); }

/// The groups of elements of x that a reduction joins, each in row-major order.
std::vector<std::vector<double>> groups(const Tensor& x, const Dims& dims) {
  const Shape result = reduced_shape("test", x.shape(), dims, KeepDims::yes);
  std::vector<std::vector<double>> groups(static_cast<std::size_t>(result.size()));
  for (i64 flat = 0; flat < x.size(); ++flat) {
    i64 rest = flat, at = 0, step = 1;
    for (int axis = x.rank() - 1; axis >= 0; --axis) {
      if (result[axis] != 1) at += rest % x.size(axis) * step;
      step *= result[axis];
      rest /= x.size(axis);
    }
    groups[static_cast<std::size_t>(at)].push_back(x.data<double>()[flat]);
  }
  return groups;
}

double sum_of(const std::vector<double>& values) {
  double total = 0;
  for (double value : values) total += value;
  return total;
}

using Reduce = std::function<Tensor(const Tensor&, const Dims&, KeepDims)>;
using Plain = std::function<double(const std::vector<double>&)>;
const std::map<std::string, std::pair<Reduce, Plain>> kReductions = {
    {"sum", {[](auto&&... a) { return sum(a...); }, sum_of}},
    {"mean", {mean, [](const auto& v) { return sum_of(v) / static_cast<double>(v.size()); }}},
    {"amax", {amax, [](const auto& v) { return *std::ranges::max_element(v); }}},
    {"amin", {amin, [](const auto& v) { return *std::ranges::min_element(v); }}},
    {"norm",
     {norm,
      [](const auto& v) {
        double total = 0;
        for (double x : v) total += x * x;
        return std::sqrt(total);
      }}},
    {"logsumexp",
     {logsumexp,
      [](const auto& v) {
        double total = 0;
        for (double x : v) total += std::exp(x);
        return std::log(total);
      }}},
    {"var",
     {[](const Tensor& x, const Dims& d, KeepDims k) { return var(x, d, 1, k); },
      [](const auto& v) {
        const auto n = static_cast<double>(v.size());
        double total = 0;
        for (double x : v) total += (x - sum_of(v) / n) * (x - sum_of(v) / n);
        return total / (n - 1);
      }}},
};

}  // namespace

TEST_CASE("reductions over every set of dimensions are those of plain loops") {
  for (const Shape& shape : {Shape{2, 3, 4, 5}, Shape{3, 1, 37, 2}})
    for (unsigned set = 1; set < 16; ++set) {
      Dims dims;
      for (int axis = 0; axis < 4; ++axis)
        if (set >> axis & 1) dims.push_back(axis % 2 ? axis - 4 : axis);
      const Tensor x = doubles(shape);
      for (const auto& [name, reduction] : kReductions) {
        if (name == "var" && set == 2 && shape[1] == 1) continue;  // one element: 0/0
        CAPTURE(name);
        CAPTURE(set);
        const auto& [reduce, plain] = reduction;
        std::vector<double> expected;
        for (const auto& group : groups(x, dims)) expected.push_back(plain(group));
        const Tensor y = reduce(x, dims, KeepDims::no), kept = reduce(x, dims, KeepDims::yes);
        CHECK(y.shape() == reduced_shape("test", shape, dims, KeepDims::no));
        CHECK(kept.shape() == reduced_shape("test", shape, dims, KeepDims::yes));
        check_close(y, Tensor::from(expected, y.shape()), {1e-12, 1e-12});
        check_close(reduce(x.to(DType::f32), dims, KeepDims::yes),
                    Tensor::from(expected, kept.shape()), {2e-6, 2e-6});
      }
    }
}

TEST_CASE("long sums, along rows and columns, are rounded once") {
  // 0.1f added a million times in float would end at 100,958.
  const double exact = 1'000'003 * static_cast<double>(0.1f);
  for (const Tensor& x : {Tensor::full({1'000'003}, 0.1), Tensor::full({1'000'003, 1}, 0.1)})
    CHECK(sum(x, {0}).reshape({}).item() == static_cast<float>(exact));
  const Tensor columns = sum(Tensor::full({100'001, 3}, 0.1), {0});
  for (float value : columns.span<float>())
    CHECK(value == static_cast<float>(100'001 * static_cast<double>(0.1f)));
}

TEST_CASE("the column sums of very many rows are rounded little more than those of few") {
  constexpr i64 rows = 1'000'000;
  const Tensor sums = column_sums(Tensor::full({rows, 2}, 0.1));
  for (float sum : sums.span<float>()) CHECK(sum == test::about(rows * 0.1, 1e-5));
}

TEST_CASE("squares that f32 cannot hold count in a norm and a variance") {
  for (const float x : {1e-30f, 1e30f}) {
    const Tensor numbers = Tensor::from(std::vector<float>{3 * x, -4 * x});
    check_close(norm(numbers), Tensor::scalar(5 * x), {0, 1e-6});
    check_close(norm(numbers.reshape({2, 1}), {0}), Tensor::from(std::vector<float>{5 * x}),
                {0, 1e-6});
  }
  std::vector<float> one_large(16);
  one_large[3] = 2.5e19f;
  check_close(var(Tensor::from(one_large), {}, 0),
              Tensor::scalar(static_cast<float>(6.25e38 * (1 / 16.0 - 1 / 256.0))), {0, 1e-6});
  const Tensor tiny = Tensor::from(std::vector<float>{3e-40f, -4e-40f});
  const Tensor dx = norm_backward(Tensor::scalar(1.0f), tiny, norm(tiny), {});
  check_close(dx, Tensor::from(std::vector<float>{0.6f, -0.8f}), {0, 1e-4});
}

TEST_CASE("the variance of numbers far from 0 does not cancel") {
  Tensor x = Tensor::empty({1000});
  for (i64 i = 0; i < 1000; ++i) x.data<float>()[i] = 1000.0f + static_cast<float>(i % 2);
  CHECK(var(x, {}, 0).item() == doctest::Approx(0.25).epsilon(1e-5));
}

TEST_CASE("a variance whose divisor is 0 or less is infinite or no number, as torch's") {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}), same = Tensor::full({3}, 2);
  for (const i64 correction : {3, 5}) {
    CHECK(std::isinf(var(x, {}, correction).item()));
    CHECK(std::isnan(var(same, {}, correction).item()));
    CHECK_FALSE(
        std::isfinite(var_backward(Tensor::scalar(1.0f), x, {}, correction).data<float>()[0]));
  }
}

TEST_CASE("sums over nothing are 0, extrema of nothing an error") {
  const Tensor nothing = Tensor::zeros({3, 0});
  check_close(sum(nothing, {1}), Tensor::zeros({3}));
  CHECK(sum(nothing).item() == 0);
  CHECK(std::isnan(mean(nothing).item()));
  check_close(logsumexp(nothing, {1}), Tensor::full({3}, -INFINITY));
  check_close(logsumexp(nothing, {0}), Tensor::zeros({0}));
  CHECK_THROWS_AS(logsumexp(Tensor()), Error);
  CHECK_THROWS_WITH_AS(amax(nothing, {1}), "amax: [3, 0] has no elements to choose from", Error);
}

TEST_CASE("logsumexp survives infinities and large numbers") {
  const float inf = INFINITY;
  const auto of = [](std::vector<float> values) { return logsumexp(Tensor::from(values)).item(); };
  CHECK(of({-inf, -inf}) == -inf);
  CHECK(of({-inf, 3}) == doctest::Approx(3));
  CHECK(of({inf, 3}) == inf);
  CHECK(of({1000, 1000}) == doctest::Approx(1000 + std::log(2.0)));
}

TEST_CASE("equal extrema share the gradient, and the largest NaN wins") {
  const Tensor x = Tensor::from(std::vector{1.0f, 5.0f, 5.0f, 2.0f}, {2, 2});
  const Tensor y = amax(x);
  check_close(extremum_backward(Tensor::scalar(1.0f), x, y, {}),
              Tensor::from(std::vector{0.0f, 0.5f, 0.5f, 0.0f}, {2, 2}));
  const Tensor nan = Tensor::from(std::vector{1.0f, NAN, 5.0f});
  CHECK(std::isnan(amax(nan).item()));
  CHECK(std::isnan(amin(nan).item()));
  CHECK(argmax(nan, 0).item() == 1);
  CHECK(argmax(Tensor::from(std::vector{1.0f, 5.0f, 5.0f}), 0).item() == 1);
}

TEST_CASE("the norm of nothing but zeros has the gradient 0") {
  const Tensor x = Tensor::from(std::vector{0.0f, 0.0f, 3.0f, 4.0f}, {2, 2});
  check_close(norm_backward(Tensor::full({2}, 1), x, norm(x, {1}), {1}),
              Tensor::from(std::vector{0.0f, 0.0f, 0.6f, 0.8f}, {2, 2}));
}

TEST_CASE("argmax and cumsum work along every dimension") {
  const Tensor x = doubles({3, 4, 5});
  for (int dim = 0; dim < 3; ++dim) {
    const Tensor best = argmax(x, dim);
    const Tensor moved = transpose(x, dim, 2),
                 rows = transpose(
                     best.reshape(reduced_shape("test", x.shape(), {dim}, KeepDims::yes)), dim, 2);
    const i64 n = moved.size(2);
    for (i64 row = 0; row < rows.size(); ++row) {
      const double* first = moved.data<double>() + row * n;
      CHECK(rows.data<i64>()[row] == std::max_element(first, first + n) - first);
    }
    const Tensor running = transpose(cumsum(x, dim), dim, 2);
    for (i64 row = 0; row < rows.size(); ++row) {
      double total = 0;
      for (i64 i = 0; i < n; ++i) {
        total += moved.data<double>()[row * n + i];
        CHECK(running.data<double>()[row * n + i] == total);
      }
    }
  }
}

TEST_CASE("dimensions that are not there or are named twice are refused") {
  const Tensor x = Tensor::zeros({3, 4});
  CHECK_THROWS_WITH_AS(sum(x, {2}), "sum: [3, 4] has no dimension 2", Error);
  CHECK_THROWS_WITH_AS(mean(x, {1, -1}), "mean: dimension -1 is given twice", Error);
  CHECK_THROWS_WITH_AS(argmax(Tensor::zeros({}), 0), "argmax: a scalar has no dimension to search",
                       Error);
}

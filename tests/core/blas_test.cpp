/// Products: the kernel that OpenBLAS chose, right values, and bits that do not depend on threads.
#include "core/cpu/blas.hpp"

#include "core/cpu/threads.hpp"
#include "core/ops/blocked_product.hpp"
#include "core/ops/matmul.hpp"
#include "core/ops/product_block.hpp"
#include "core/rng.hpp"
#include "tests/support.hpp"

using namespace minima;
using ops::Factor, ops::Transpose;

namespace {

std::vector<float> random(i64 n, u64 seed) {
  RandomSequence sequence(seed, "blas");
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = static_cast<float>(2 * sequence.uniform() - 1);
  return values;
}

/// op(matrix)[i, j], where stored rows are `length` long.
double at(const std::vector<float>& matrix, Transpose transpose, i64 length, i64 i, i64 j) {
  return matrix[static_cast<std::size_t>(transpose == Transpose::yes ? j * length + i
                                                                     : i * length + j)];
}

/// A factor of these rows and columns; where stored rows end, `gap` numbers follow.
Factor<float> factor(const std::vector<float>& stored, i64 rows, i64 columns,
                     Transpose transpose = Transpose::no, i64 gap = 0) {
  if (transpose == Transpose::yes) std::swap(rows, columns);
  return Factor(stored.data(), rows, columns, columns + gap).transposed(transpose);
}

struct Case {
  Transpose ta, tb;
  i64 m, n, k;
};

/// Every size that a loop's remainder, a tile's edge or a kernel's special path may trip over.
std::vector<Case> cases() {
  std::vector<Case> list;
  for (const auto& [m, n, k] : {std::array<i64, 3>{1, 1, 1},
                                {1, 65, 33},
                                {67, 1, 129},
                                {2, 3, 1},
                                {17, 19, 23},
                                {100, 101, 103},
                                {257, 31, 64},
                                {33, 300, 127},
                                {7, 43, 700},     // several chunks of k
                                {5, 300, 4500}})  // several parts of B
    for (Transpose ta : {Transpose::no, Transpose::yes})
      for (Transpose tb : {Transpose::no, Transpose::yes}) list.push_back({ta, tb, m, n, k});
  return list;
}

}  // namespace

TEST_CASE("OpenBLAS uses the processor's vector unit, unless the user chose its kernel") {
  const blas::Info& info = blas::info();
  if (info.core_by_user || vector_unit() != widest_vector_unit()) {
    MESSAGE("skipped: OPENBLAS_CORETYPE or MINIMA_VECTOR_UNIT is set");
    return;
  }
  CAPTURE(info.library);
  CAPTURE(info.core);
  CHECK(blas::vector_unit_of(info.core) >= widest_vector_unit());
}

TEST_CASE(
    "products equal those of a plain loop in f64, for odd sizes, transposes, alpha, beta and a "
    "row, "
    "and each tile is finished once") {
  constexpr i64 kGap = 3;  // between rows: an operand may be a part of a wider matrix
  for (const auto& [ta, tb, m, n, k] : cases()) {
    CAPTURE(m);
    CAPTURE(n);
    CAPTURE(k);
    CAPTURE(static_cast<int>(ta));
    CAPTURE(static_cast<int>(tb));
    const i64 lda = (ta == Transpose::yes ? m : k) + kGap,
              ldb = (tb == Transpose::yes ? k : n) + kGap;
    const std::vector<float> a = random((ta == Transpose::yes ? k : m) * lda, 1),
                             b = random((tb == Transpose::yes ? n : k) * ldb, 2),
                             row = random(n, 3);
    const std::vector<float> before = random(m * n + kGap, 4);
    std::vector<double> scaled(before.begin(), before.end()), on_row = scaled;
    for (i64 i = 0; i < m; ++i) {
      for (i64 j = 0; j < n; ++j) {
        double sum = 0;
        for (i64 p = 0; p < k; ++p) sum += at(a, ta, lda, i, p) * at(b, tb, ldb, p, j);
        const auto here = static_cast<std::size_t>(i * n + j);
        scaled[here] = 0.5 * sum + 2 * scaled[here] + 1;
        on_row[here] = 0.5 * sum + double{row[static_cast<std::size_t>(j)]} + 1;
      }
    }
    for (const auto product : {&ops::tiled_product<float>, &ops::blocked_product_in<ops::Avx2Block>,
                               &ops::blocked_product_in<ops::Avx512Block>})
      for (const bool with_row : {false, true}) {
        std::vector<float> c = before;
        product(0.5f, factor(a, m, k, ta, kGap), factor(b, k, n, tb, kGap), 2, c.data(),
                with_row ? row.data() : nullptr, [&](const ops::Tile& tile) {
                  for (i64 i = tile.row; i < tile.row + tile.height; ++i)
                    for (i64 j = tile.column; j < tile.column + tile.width; ++j)
                      c[static_cast<std::size_t>(i * n + j)] += 1;
                });
        // Behind the last row nothing may change.
        test::check_close(Tensor::from(c), Tensor::from(with_row ? on_row : scaled),
                          {2e-7 * static_cast<double>(k + 8), 0});
      }
  }
}

TEST_CASE("with beta 0 a product does not read what it overwrites") {
  const std::vector<float> a = random(6, 1), b = random(6, 2);
  std::vector<float> c(4, std::nanf(""));
  gemm(1, factor(a, 2, 3), factor(b, 3, 2), 0, c.data());
  for (float value : c) CHECK(std::isfinite(value));
  gemm(1, factor(a, 2, 0), factor(b, 0, 2), 0, c.data());
  for (float value : c) CHECK(value == 0);
  gemm(1, factor(a, 2, 0), factor(b, 0, 2), 0, c.data(), b.data());
  for (std::size_t i = 0; i < 4; ++i) CHECK(c[i] == b[i % 2]);
}

TEST_CASE("products have the same bits on one, two and three threads, and in blocks of any shape") {
  const int before = threads();
  RandomSequence sizes(7, "sizes");
  std::vector<std::array<i64, 3>> list{{20, 5000, 300}, {30, 40, 4500}};  // several parts of B
  for (int i = 0; i < 20; ++i)
    list.push_back({1 + static_cast<i64>(sizes.below(300)), 1 + static_cast<i64>(sizes.below(300)),
                    1 + static_cast<i64>(sizes.below(300))});
  using Ways = std::vector<decltype(&ops::blocked_product)>;
  for (const Ways& ways :
       {Ways{&ops::tiled_product<float>},
        Ways{&ops::blocked_product_in<ops::Avx2Block>, &ops::blocked_product_in<ops::Avx512Block>}})
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto [m, n, k] = list[i];
      const Transpose ta{i % 2 == 0 ? Transpose::no : Transpose::yes},
          tb{i / 2 % 2 == 0 ? Transpose::no : Transpose::yes};
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      const std::vector<float> a = random(m * k, 1), b = random(k * n, 2), row = random(n, 3);
      std::vector<float> first;
      for (const auto product : ways)
        for (int count : {1, 2, 3}) {
          set_threads(count);
          std::vector<float> c(static_cast<std::size_t>(m * n));
          product(0.3f, factor(a, m, k, ta), factor(b, k, n, tb), 0, c.data(), row.data(), {});
          if (first.empty()) first = c;
          CHECK(c == first);
        }
    }
  set_threads(before);
}

TEST_CASE(
    "an element of a blocked product has the same bits in a product of other rows and columns") {
  constexpr i64 m = 211, n = 83, k = 300, row = 200, column = 50, rows = 11, columns = 33;
  const std::vector<float> a = random(m * k, 1), b = random(k * n, 2);
  std::vector<float> all(m * n), some(rows * columns);
  const Factor<float> A = factor(a, m, k), B = factor(b, k, n);
  ops::blocked_product(0.3f, A, B, 0, all.data(), nullptr, {});
  ops::blocked_product(0.3f, A.part(row, 0, rows, k), B.part(0, column, k, columns), 0, some.data(),
                       nullptr, {});
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j)
      REQUIRE(some[i * columns + j] == all[(row + i) * n + column + j]);
}

TEST_CASE("a size that OpenBLAS cannot count is refused") {
  const float one = 1;
  float c = 0;
  CHECK_THROWS_WITH_AS(
      blas::sgemm(false, false, 1, 1, 1, 1, &one, (i64{1} << 32) + 1, &one, 1, 0, &c, 1),
      "blas: a size of 4294967297; OpenBLAS counts to 2147483647", Error);
}

TEST_CASE("factors that do not fit are refused") {
  const float x[8] = {};
  float y[4];
  CHECK_THROWS_WITH_AS(ops::gemm(1, ops::Factor{x, 2, 3}, ops::Factor{x, 4, 2}, 0, y),
                       "gemm: factors of 2 x 3 and 4 x 2", Error);
}

TEST_CASE("the leading dimensions of a product broadcast") {
  const Tensor a = test::normal({2, 1, 3, 4}, "a"), b = test::normal({5, 4, 2}, "b");
  const Tensor y = ops::matmul(a, b);
  REQUIRE(y.shape() == Shape{2, 5, 3, 2});
  const Tensor products = y.reshape({10, 3, 2}), left = a.reshape({2, 3, 4});
  for (i64 i = 0; i < 10; ++i) {
    const auto matrix = [](const Tensor& x, i64 at) {
      return x.rows(at, at + 1).reshape(x.shape().inner());
    };
    CHECK(test::same_bits(matrix(products, i), ops::matmul(matrix(left, i / 5), matrix(b, i % 5))));
  }
  CHECK(ops::matmul(a, Tensor::zeros({0, 4, 2}, DType::f64)).shape() == Shape{2, 0, 3, 2});
  CHECK_THROWS_WITH_AS(ops::matmul(Tensor::zeros({3, 2, 4}), Tensor::zeros({2, 4, 5})),
                       "matmul: leading dimensions do not broadcast: a is [3, 2, 4], b is [2, 4, "
                       "5]; before the last two, sizes must be equal or 1",
                       Error);
}

TEST_CASE("a vector is not transposed") {
  const Tensor vector = Tensor::full({100}, 1), row = Tensor::full({1, 2}, 1);
  CHECK_THROWS_WITH_AS(ops::matmul(vector, row, Transpose::yes),
                       doctest::Contains("a vector is not transposed"), Error);
  CHECK_THROWS_WITH_AS(ops::matmul(row, vector, Transpose::no, Transpose::yes),
                       doctest::Contains("a vector is not transposed"), Error);
}

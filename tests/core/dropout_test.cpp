/// Dropout by counter.
#include "core/ops/dropout.hpp"

#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::same_bits;

namespace {

Tensor count_up(i64 n, i64 first = 0) {
  Tensor x = Tensor::empty({n}, DType::i64);
  for (i64 i = 0; i < n; ++i) x.data<i64>()[i] = first + i;
  return x;
}

Tensor constant(i64 n, i64 value) {
  return Tensor::full({n}, static_cast<double>(value), DType::i64);
}

const ops::DropoutSite kSite{0.3, stream_key(1, "layer"), 5};

}  // namespace

TEST_CASE("dropout keeps a share of 1 - rate and scales it, so that the mean stays") {
  for (double rate : {0.1, 0.5, 0.9}) {
    CAPTURE(rate);
    constexpr i64 rows = 300, width = 1000;
    const Tensor y = ops::dropout(Tensor::full({rows, width}, 2), {rate, 9, 1}, count_up(rows),
                                  constant(rows, 0));
    i64 kept = 0;
    for (float value : y.span<float>()) {
      if (value == 0) continue;
      REQUIRE(value == doctest::Approx(2 / (1 - rate)));
      ++kept;
    }
    const double n = rows * width;
    CHECK(std::abs(static_cast<double>(kept) / n - (1 - rate)) <
          6 * std::sqrt(rate * (1 - rate) / n));
  }
}

TEST_CASE("with rate 0 dropout is the identity; other rates lie below 1") {
  const Tensor x = Tensor::full({2, 3}, 1);
  CHECK(ops::dropout(x, {}, count_up(2), count_up(2)).shares_storage(x));
  CHECK(test::error_of([&] {
          ops::dropout(x, {1, 0, 0}, count_up(2), count_up(2));
        }) == "dropout: rate 1 must be at least 0 and below 1");
  CHECK(test::error_of([&] {
          ops::dropout(x, {0.1, 0, 0}, count_up(3), count_up(2));
        }) == "dropout: x is [2, 3], example ids [3], positions [2]; one of each for every row");
}

TEST_CASE("the mask belongs to example and position, wherever the row lies") {
  constexpr i64 width = 130;  // more than two groups of 64
  const Tensor x = Tensor::full({40, width}, 1);
  const Tensor whole = ops::dropout(x, kSite, count_up(40, 7), count_up(40, 3));
  // The same rows from the tenth on, as another batch would hold them.
  const Tensor part = ops::dropout(x.rows(10, 40), kSite, count_up(30, 17), count_up(30, 13));
  CHECK(same_bits(part, whole.rows(10, 40).clone()));
  // A narrower row has the same mask as far as it goes.
  const Tensor narrow =
      ops::dropout(Tensor::full({40, 70}, 1), kSite, count_up(40, 7), count_up(40, 3));
  for (i64 row = 0; row < 40; ++row)
    CHECK(std::memcmp(narrow.data<float>() + row * 70, whole.data<float>() + row * width,
                      70 * sizeof(float)) == 0);
}

TEST_CASE("another seed, layer, step, example or position has another mask") {
  const Tensor x = Tensor::full({1, 200}, 1);
  const auto mask = [&](const ops::DropoutSite& site, i64 example, i64 position) {
    return ops::dropout(x, site, constant(1, example), constant(1, position));
  };
  const Tensor base = mask(kSite, 1, 2);
  CHECK(same_bits(base, mask(kSite, 1, 2)));
  CHECK(!same_bits(base, mask({kSite.rate, stream_key(2, "layer"), kSite.step}, 1, 2)));
  CHECK(!same_bits(base, mask({kSite.rate, stream_key(1, "layes"), kSite.step}, 1, 2)));
  CHECK(!same_bits(base, mask({kSite.rate, kSite.key, kSite.step + 1}, 1, 2)));
  CHECK(!same_bits(base, mask(kSite, 2, 2)));
  CHECK(!same_bits(base, mask(kSite, 1, 3)));
  CHECK(!same_bits(base, mask(kSite, 2, 1)));
}

TEST_CASE("f32 and f64, and so forward and backward, see the same mask") {
  const Tensor x = Tensor::full({20, 99}, 1);
  const Tensor narrow = ops::dropout(x, kSite, count_up(20), count_up(20)),
               wide = ops::dropout(x.to(DType::f64), kSite, count_up(20), count_up(20));
  test::check_close(narrow, wide, {0, 0});
}

/// Packed attention against plain loops in f64.
#include "core/ops/attention.hpp"

#include <numeric>

#include "core/cpu/threads.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using ops::AttentionGradients;
using ops::AttentionResult;
using ops::AttentionRows;
using ops::DropoutSite;
using test::normal, test::same_bits;

namespace {

/// Texts of these lengths; `queries` of each ask, its first ones.
AttentionRows rows_of(const std::vector<i64>& lengths, const std::vector<i64>& queries,
                      i64 first_example = 0) {
  std::vector<i64> query_offsets{0}, key_offsets{0}, positions, examples;
  for (std::size_t text = 0; text < lengths.size(); ++text) {
    key_offsets.push_back(key_offsets.back() + lengths[text]);
    query_offsets.push_back(query_offsets.back() + queries[text]);
    for (i64 i = 0; i < queries[text]; ++i) positions.push_back(i);
    examples.push_back(first_example + static_cast<i64>(text));
  }
  return {Tensor::from(query_offsets), Tensor::from(positions), Tensor::from(key_offsets),
          Tensor::from(examples)};
}

i64 total(const std::vector<i64>& counts) {
  return std::accumulate(counts.begin(), counts.end(), i64{0});
}

/// What each weight of dropout is multiplied by, [heads, queries, longest text]: attention itself
/// is asked, with values that pick out one weight each.
std::vector<double> kept(const AttentionRows& rows, i64 heads, const DropoutSite& dropout,
                         i64 longest) {
  const i64 queries = rows.query_positions.size();
  const i64 keys = rows.key_offsets.data<i64>()[rows.example_id.size()];
  const Tensor q = Tensor::zeros({queries, heads * longest}, DType::f64);
  const Tensor k = Tensor::zeros({keys, heads * longest}, DType::f64);
  Tensor v = Tensor::zeros({keys, heads * longest}, DType::f64);
  for (i64 text = 0; text < rows.example_id.size(); ++text) {
    const i64 begin = rows.key_offsets.data<i64>()[text],
              end = rows.key_offsets.data<i64>()[text + 1];
    for (i64 key = begin; key < end; ++key)
      for (i64 head = 0; head < heads; ++head)
        v.data<double>()[key * heads * longest + head * longest + key - begin] =
            static_cast<double>(end - begin);
  }
  const Tensor y = ops::attention(q, k, v, rows, heads, dropout).y;
  std::vector<double> factor(static_cast<std::size_t>(heads * queries * longest));
  for (i64 head = 0; head < heads; ++head)
    for (i64 i = 0; i < queries; ++i)
      for (i64 j = 0; j < longest; ++j)
        factor[static_cast<std::size_t>((head * queries + i) * longest + j)] =
            y.data<double>()[(i * heads + head) * longest + j];
  return factor;
}

/// Forward and backward, written as in the paper; `factor` as from kept().
std::pair<AttentionResult, AttentionGradients> reference(const Tensor& dy, const Tensor& q,
                                                         const Tensor& k, const Tensor& v,
                                                         const AttentionRows& rows, i64 heads,
                                                         const std::vector<double>& factor,
                                                         i64 longest) {
  const i64 dim = q.size(1), width = dim / heads, queries = q.size(0);
  AttentionResult out{Tensor::zeros_like(q), Tensor::zeros({heads, queries}, DType::f64)};
  AttentionGradients gradients{Tensor::zeros_like(q), Tensor::zeros_like(k), Tensor::zeros_like(v)};
  const auto dot = [&](const Tensor& a, i64 row_a, const Tensor& b, i64 row_b, i64 head) {
    double sum = 0;
    for (i64 c = head * width; c < (head + 1) * width; ++c)
      sum += a.data<double>()[row_a * dim + c] * b.data<double>()[row_b * dim + c];
    return sum;
  };
  const auto add = [&](Tensor& to, i64 row, double times, const Tensor& from, i64 from_row,
                       i64 head) {
    for (i64 c = head * width; c < (head + 1) * width; ++c)
      to.data<double>()[row * dim + c] += times * from.data<double>()[from_row * dim + c];
  };
  for (i64 text = 0; text < rows.example_id.size(); ++text) {
    const i64 first = rows.key_offsets.data<i64>()[text];
    const i64 n = rows.key_offsets.data<i64>()[text + 1] - first;
    for (i64 i = rows.query_offsets.data<i64>()[text]; i < rows.query_offsets.data<i64>()[text + 1];
         ++i) {
      for (i64 head = 0; head < heads; ++head) {
        const double* keep = factor.data() + (head * queries + i) * longest;
        std::vector<double> p(static_cast<std::size_t>(n)), dp(p);
        double sum = 0, weighted = 0;
        for (i64 j = 0; j < n; ++j) {
          p[static_cast<std::size_t>(j)] =
              std::exp(dot(q, i, k, first + j, head) / std::sqrt(width));
          sum += p[static_cast<std::size_t>(j)];
        }
        out.log_sum.data<double>()[head * queries + i] = std::log(sum);
        for (i64 j = 0; j < n; ++j) {
          double& weight = p[static_cast<std::size_t>(j)];
          weight /= sum;
          add(out.y, i, weight * keep[j], v, first + j, head);
          add(gradients.dv, first + j, weight * keep[j], dy, i, head);
          dp[static_cast<std::size_t>(j)] = keep[j] * dot(dy, i, v, first + j, head);
          weighted += weight * dp[static_cast<std::size_t>(j)];
        }
        for (i64 j = 0; j < n; ++j) {
          const double ds = p[static_cast<std::size_t>(j)] *
                            (dp[static_cast<std::size_t>(j)] - weighted) / std::sqrt(width);
          add(gradients.dq, i, ds, k, first + j, head);
          add(gradients.dk, first + j, ds, q, i, head);
        }
      }
    }
  }
  return {out, gradients};
}

const std::vector<i64> kLengths{1, 7, 18, 1, 33};

void compare(const std::vector<i64>& queries, const DropoutSite& dropout, DType dtype,
             test::Tolerance tolerance) {
  constexpr i64 heads = 3, dim = 24, longest = 33;
  const AttentionRows rows = rows_of(kLengths, queries);
  const Tensor q = normal({total(queries), dim}, "q"), dy = normal({total(queries), dim}, "dy"),
               k = normal({total(kLengths), dim}, "k"), v = normal({total(kLengths), dim}, "v");
  const auto [expected, gradients] =
      reference(dy, q, k, v, rows, heads, kept(rows, heads, dropout, longest), longest);
  const Tensor qs = q.to(dtype), ks = k.to(dtype), vs = v.to(dtype);
  const AttentionResult actual = ops::attention(qs, ks, vs, rows, heads, dropout);
  test::check_close(actual.y, expected.y, tolerance);
  test::check_close(actual.log_sum, expected.log_sum, tolerance);
  const AttentionGradients backward =
      ops::attention_backward(dy.to(dtype), qs, ks, vs, actual, rows, heads, dropout);
  test::check_close(backward.dq, gradients.dq, tolerance);
  test::check_close(backward.dk, gradients.dk, tolerance);
  test::check_close(backward.dv, gradients.dv, tolerance);
}

const DropoutSite kOff{}, kOn{0.3, stream_key(1, "attention"), 4};

}  // namespace

TEST_CASE("attention and its gradients are those of plain loops, in f64 and f32") {
  for (const DropoutSite& dropout : {kOff, kOn}) {
    CAPTURE(dropout.rate);
    compare(kLengths, dropout, DType::f64, {1e-13, 1e-13});
    compare(kLengths, dropout, DType::f32, {2e-6, 1e-5});
  }
}

TEST_CASE("a subset of the queries gives the same rows, none at all for some texts") {
  for (const DropoutSite& dropout : {kOff, kOn}) {
    CAPTURE(dropout.rate);
    compare({1, 1, 1, 1, 1}, dropout, DType::f32, {2e-6, 1e-5});
    compare({0, 3, 0, 1, 2}, dropout, DType::f32, {2e-6, 1e-5});
  }
}

TEST_CASE("a query has the dropout of its position in the text, whichever others ask") {
  constexpr i64 length = 9, heads = 2;
  const Tensor q = normal({length, 16}, "q"), k = normal({length, 16}, "k"),
               v = normal({length, 16}, "v");
  const Tensor all = ops::attention(q, k, v, rows_of({length}, {length}), heads, kOn).y;
  AttentionRows one = rows_of({length}, {1});
  for (i64 i = 0; i < length; ++i) {
    CAPTURE(i);
    one.query_positions = Tensor::from(std::vector<i64>{i});
    test::check_close(ops::attention(q.rows(i, i + 1), k, v, one, heads, kOn).y, all.rows(i, i + 1),
                      {1e-14, 1e-14});
  }
}

TEST_CASE("a text of one token attends to itself alone") {
  const Tensor q = normal({1, 8}, "q"), k = normal({1, 8}, "k"), v = normal({1, 8}, "v");
  test::check_close(ops::attention(q, k, v, rows_of({1}, {1}), 2, kOff).y, v, {0, 0});
}

TEST_CASE("scores far beyond the range of exp are no danger") {
  const Tensor q = Tensor::full({2, 4}, 1e4),
               k = Tensor::from(std::vector<float>{1, 1, 1, 1, 2, 2, 2, 2}, {2, 4}),
               v = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}, {2, 4});
  const AttentionRows rows = rows_of({2}, {2});
  const AttentionResult out = ops::attention(q, k, v, rows, 1, kOff);
  for (i64 c = 0; c < 4; ++c) CHECK(out.y.data<float>()[c] == v.data<float>()[4 + c]);
  const AttentionGradients gradients = ops::attention_backward(v, q, k, v, out, rows, 1, kOff);
  for (float value : gradients.dq.span<float>()) CHECK(std::isfinite(value));
}

TEST_CASE("backward's weights of a query add up to 1, however large the scores, in f32 too") {
  const AttentionRows rows = rows_of({40}, {40});
  const auto of_large_scores = [](const char* name) {
    Tensor x = normal({40, 16}, name).to(DType::f32);
    for (float& value : x.span<float>()) value *= 20;
    return x;
  };
  const Tensor q = of_large_scores("q"), k = of_large_scores("k"), v = Tensor::full({40, 16}, 1),
               dy = Tensor::full({40, 16}, 1);
  const auto [dq, dk, dv] =
      ops::attention_backward(dy, q, k, v, ops::attention(q, k, v, rows, 2, kOff), rows, 2, kOff);
  test::check_close(dq, Tensor::zeros_like(dq), {2e-5, 0});
  test::check_close(dk, Tensor::zeros_like(dk), {2e-5, 0});
  // Values that all say the same leave queries and keys where they are; each column of dv takes up what dy gives.
  for (i64 c = 0; c < 16; ++c) {
    double sum = 0;
    for (i64 key = 0; key < 40; ++key) sum += dv.data<float>()[key * 16 + c];
    CHECK(std::abs(sum - 40) < 5e-6);
  }
}

TEST_CASE("attention's dropout keeps its share, and heads have masks of their own") {
  constexpr i64 length = 100, heads = 4;
  const std::vector<double> factor = kept(rows_of({length}, {length}), heads, kOn, length);
  i64 kept_weights = 0, equal = 0;
  for (std::size_t i = 0; i < factor.size(); ++i) {
    if (factor[i] != 0) {
      REQUIRE(factor[i] == doctest::Approx(1 / (1 - kOn.rate)));
      ++kept_weights;
    }
    const std::size_t next_head = (i + length * length) % factor.size();
    equal += (factor[i] == 0) == (factor[next_head] == 0);
  }
  const double n = static_cast<double>(factor.size());
  CHECK(std::abs(static_cast<double>(kept_weights) / n - 0.7) < 6 * std::sqrt(0.3 * 0.7 / n));
  CHECK(std::abs(static_cast<double>(equal) / n - (0.49 + 0.09)) < 6 * std::sqrt(0.58 * 0.42 / n));
}

TEST_CASE("a text has the same attention alone and among others, on any number of threads") {
  constexpr i64 heads = 2, dim = 16;
  const int before = threads();
  const Tensor q = normal({60, dim}, "q").to(DType::f32), k = normal({60, dim}, "k").to(DType::f32),
               v = normal({60, dim}, "v").to(DType::f32);
  set_threads(1);
  const Tensor together =
      ops::attention(q, k, v, rows_of(kLengths, kLengths), heads, kOn).y.clone();
  for (int count : {1, 2, 3}) {
    CAPTURE(count);
    set_threads(count);
    i64 begin = 0;
    for (std::size_t text = 0; text < kLengths.size(); ++text) {
      const i64 end = begin + kLengths[text];
      const Tensor alone =
          ops::attention(
              q.rows(begin, end).clone(), k.rows(begin, end).clone(), v.rows(begin, end).clone(),
              rows_of({kLengths[text]}, {kLengths[text]}, static_cast<i64>(text)), heads, kOn)
              .y;
      CHECK(same_bits(alone, together.rows(begin, end)));
      begin = end;
    }
  }
  set_threads(before);
}

TEST_CASE("rows that do not fit are refused") {
  const Tensor x = Tensor::zeros({5, 6});
  const auto message = [&](const Tensor& q, const AttentionRows& rows, i64 heads) {
    return test::error_of([&] { ops::attention(q, x, x, rows, heads, kOff); });
  };
  CHECK(message(x, rows_of({5}, {5}), 4) == "attention: 4 heads do not divide dim 6");
  CHECK(test::error_of([] {
          const Tensor none = Tensor::zeros({5, 0});
          ops::attention(none, none, none, rows_of({5}, {5}), 1, kOff);
        }) == "attention: 1 heads do not divide dim 0");
  CHECK(message(Tensor::zeros({5, 4}), rows_of({5}, {5}), 2) ==
        "attention: q is [5, 4], k [5, 6], v [5, 6]; all must be [rows, dim] of the same dim");
  CHECK(message(x.to(DType::f64), rows_of({5}, {5}), 2) ==
        "attention: one operand is f64, the other f32; convert one of them");
  AttentionRows narrow = rows_of({5}, {5});
  narrow.example_id = narrow.example_id.to(DType::i32);
  CHECK(message(x, narrow, 2) == "attention: example ids are i32; they must be i64");
  CHECK(message(x, rows_of({4}, {5}), 2) == "attention: offsets must rise from 0 to the 5 rows");
  CHECK(message(x, rows_of({0, 5}, {1, 4}), 2) == "attention: text 0 has queries but no keys");
  AttentionRows rows = rows_of({5}, {5});
  rows.query_offsets = Tensor::from(std::vector<i64>{0, 2, 5});
  CHECK(message(x, rows, 2) == "attention: 3 offsets for 1 texts; there must be one more");
  for (const auto& [first, width] : {std::pair<i64, i64>{3, 4}, {-1, 2}, {1, -1}})
    CHECK(test::error_of([&, first = first, width = width] { ops::Columns(x, first, width); }) ==
          fmt::format("attention: {} columns from {} on do not lie in [5, 6]", width, first));
}

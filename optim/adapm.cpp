#include "optim/adapm.hpp"

#include <numeric>

#include "core/ops/matmul.hpp"
#include "optim/adam.hpp"
#include "optim/factored.hpp"
#include "optim/plan.hpp"

namespace minima {
namespace {

using ops::Transpose;

enum class Momentum { full, none, low_rank };

Momentum momentum_of(const AdaPm::Options& o, const ParameterShape& parameter) {
  if (parameter.shape.rank() < 2 || matches(parameter.name, o.full)) return Momentum::full;
  if (matches(parameter.name, o.none)) return Momentum::none;
  if (parameter.shape.rank() != 2 || !matches(parameter.name, o.low_rank)) return Momentum::full;
  return o.rank == 0 ? Momentum::none : Momentum::low_rank;
}

i64 rank_of(const AdaPm::Options& o, const Shape& shape) {
  return std::min({o.rank, shape[0], shape[1]});
}

/// The gradient, scaled and guarded, as a tensor of its own.
Tensor gradient_of(const StepView& view) {
  const MatrixShape shape(view.shape);
  Tensor copy = Tensor::empty(view.shape);
  for_row_chunks(shape, [&](i64, i64 first, i64 last) {
    for_pieces(view, {}, shape.columns, first * shape.columns, last * shape.columns, Access::read,
               [&](const Piece& x) {
                 float* const to = copy.data<float>() + x.i * shape.columns + x.j;
                 for (i64 k = 0; k < x.n; ++k) to[k] = x.gradient(k);
               });
  });
  return copy;
}

/// Entry (i, j) of W where row i of C is zero: splitmix64 of the place, as a number in [−1, 1).
double pseudo_random(i64 i, i64 j) {
  u64 z = (static_cast<u64>(i) << 32) + static_cast<u64>(j) + 1 + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return 2 * (static_cast<double>(z >> 11) * 0x1p-53) - 1;
}

/// Rows of C at length 1.
Tensor directions(const float* C, i64 r, i64 m) {
  Tensor W = Tensor::empty({r, m});
  for (i64 i = 0; i < r; ++i) {
    const float* from = C + i * m;
    float* to = W.data<float>() + i * m;
    const double length = std::sqrt(std::inner_product(from, from + m, from, 0.0));
    for (i64 j = 0; j < m; ++j)
      to[j] = static_cast<float>(length > 0 ? static_cast<double>(from[j]) / length
                                            : pseudo_random(i, j));
  }
  return W;
}

/// Makes the columns of Y [n, r] orthonormal: modified Gram–Schmidt, two passes. A column of which
/// at most 10⁻⁶ remains is one of the others' span, and becomes zero.
void orthonormalize(Tensor& Y) {
  const i64 n = Y.shape()[0], r = Y.shape()[1];
  std::vector<std::vector<double>> columns;
  for (i64 k = 0; k < r; ++k) {
    std::vector<double> y(static_cast<std::size_t>(n));
    for (i64 i = 0; i < n; ++i)
      y[static_cast<std::size_t>(i)] = static_cast<double>(Y.data<float>()[i * r + k]);
    const auto length = [&] {
      return std::sqrt(std::inner_product(y.begin(), y.end(), y.begin(), 0.0));
    };
    const double before = length();
    for (int pass = 0; pass < 2; ++pass)
      for (const std::vector<double>& q : columns) {
        const double along = std::inner_product(y.begin(), y.end(), q.begin(), 0.0);
        for (std::size_t i = 0; i < y.size(); ++i) y[i] -= along * q[i];
      }
    const double left = length(), factor = left > 1e-6 * before ? 1 / left : 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      y[i] *= factor;
      Y.data<float>()[static_cast<i64>(i) * r + k] = static_cast<float>(y[i]);
    }
    columns.push_back(std::move(y));
  }
}

/// Advances basis and coef, and turns the gradient G [rows, columns] into the estimate e.
void advance_low_rank(const AdaPm::Options& o, const StepView& view, Tensor& G) {
  const i64 rows = view.shape[0], columns = view.shape[1], r = rank_of(o, view.shape);
  const bool flip = rows > columns;
  const i64 n = std::min(rows, columns), m = std::max(rows, columns);
  const Transpose as_is = flip ? Transpose::yes : Transpose::no;  // of G, as [n, m]
  const float b1 = static_cast<float>(o.beta1), one_minus_b1 = static_cast<float>(1 - o.beta1);
  float *const Q = view.floats("basis"), *const C = view.floats("coef");
  const auto gemm = [](Transpose ta, Transpose tb, i64 height, i64 width, i64 inner, float alpha,
                       const float* a, i64 lda, const float* b, i64 ldb, float beta, float* c) {
    ops::gemm(ta, tb, height, width, inner, alpha, a, lda, b, ldb, beta, c, width);
  };

  // Y = β₁ Q (C Wᵀ) + (1 − β₁) g Wᵀ
  const Tensor W = directions(C, r, m);
  Tensor CW = Tensor::empty({r, r}), Y = Tensor::empty({n, r});
  gemm(Transpose::no, Transpose::yes, r, r, m, 1, C, m, W.data<float>(), m, 0, CW.data<float>());
  gemm(as_is, Transpose::yes, n, r, m, one_minus_b1, G.data<float>(), columns, W.data<float>(), m,
       0, Y.data<float>());
  gemm(Transpose::no, Transpose::no, n, r, r, b1, Q, r, CW.data<float>(), r, 1, Y.data<float>());
  orthonormalize(Y);
  const float* const next = Y.data<float>();  // Q′

  // C′ = β₁ (Q′ᵀ Q) C + (1 − β₁) Q′ᵀ g
  Tensor QQ = Tensor::empty({r, r}), Qg = Tensor::empty({r, m}), old = Tensor::empty({r, m});
  gemm(Transpose::yes, Transpose::no, r, r, n, 1, next, r, Q, r, 0, QQ.data<float>());
  gemm(Transpose::yes, as_is, r, m, n, 1, next, r, G.data<float>(), columns, 0, Qg.data<float>());
  std::copy(C, C + r * m, old.data<float>());
  gemm(Transpose::no, Transpose::no, r, m, r, b1, QQ.data<float>(), r, old.data<float>(), m, 0, C);
  // e = g + Q′ D,   D = C′/(1 − β₁ᵗ) − Q′ᵀ g
  const float correction = static_cast<float>(1 / (1 - integer_power(o.beta1, view.t)));
  float* const D = Qg.data<float>();
  for (i64 k = 0; k < r * m; ++k) {
    C[k] += one_minus_b1 * D[k];
    D[k] = C[k] * correction - D[k];
  }
  std::copy(next, next + n * r, Q);
  if (flip)
    gemm(Transpose::yes, Transpose::yes, rows, columns, r, 1, D, m, next, r, 1, G.data<float>());
  else
    gemm(Transpose::no, Transpose::no, rows, columns, r, 1, next, r, D, m, 1, G.data<float>());
}

/// The last pass. Slots: m where kAverages, v unless kFactored.
template <bool kAverages, bool kFactored>
struct Move {
  AdamMoments moments;
  float keep;
  Factors factors;        ///< of v, where kFactored
  const float* estimate;  ///< e [rows, columns]; null: g, or m
  i64 width;

  struct Row {
    AdamMoments moments;
    float keep, r;
    const float *c, *estimate;

    template <class T, class... S>
    MINIMA_HD void operator()(i64 j, T& p, T g, S&... slots) const {
      T unused(0), *const slot[] = {&slots..., &unused};
      T e = estimate ? T(estimate[j]) : g;
      if constexpr (kAverages) {
        T& m = *slot[0];
        m = moments.beta1 * m + moments.one_minus_beta1 * g;
        e = m;
      }
      T v = *slot[kAverages ? 1 : 0];
      if constexpr (kFactored) {
        v = r * T(c[j]);
      } else {
        v = moments.beta2 * v + moments.one_minus_beta2 * g * g;
        *slot[kAverages ? 1 : 0] = v;
      }
      p = keep * p - moments.update(e, v);
    }
    template <class F>
    void constants(const F& f) {
      moments.constants(f), f("(1 − lr·λ)", keep);
      if constexpr (kFactored) f("R/mean(R)", r);
    }
  };
  MINIMA_HD Row row(i64 i) const {
    return {moments, keep, kFactored ? factors.r[i] : 0.0f, kFactored ? factors.column(i) : nullptr,
            estimate ? estimate + i * width : nullptr};
  }
};

}  // namespace

std::vector<Slot> AdaPm::slots(const Options& o, const ParameterShape& parameter) {
  std::vector<Slot> slots;
  switch (momentum_of(o, parameter)) {
    case Momentum::full:
      slots.push_back({"exp_avg", "m"});
      break;
    case Momentum::low_rank: {
      const auto [n, m] = std::minmax({parameter.shape[0], parameter.shape[1]});
      const i64 r = rank_of(o, parameter.shape);
      slots.push_back({"basis", "Q", Sign::any, Shape{n, r}});
      slots.push_back({"coef", "C", Sign::any, Shape{r, m}});
      break;
    }
    case Momentum::none:
      break;
  }
  if (o.factored && parameter.shape.rank() >= 2)
    std::ranges::copy(factored_slots("exp_avg_sq", parameter.shape, "R", "C"),
                      std::back_inserter(slots));
  else
    slots.push_back({"exp_avg_sq", "v", Sign::nonnegative});
  return slots;
}

i64 AdaPm::temporary(const Options& o, const StepView& view) {
  if (!view.find("basis")) return 0;
  return view.shape.size() + 3 * rank_of(o, view.shape) * (view.shape[0] + view.shape[1]);
}

void AdaPm::step(const Options& o, const StepView& view) {
  if (view.shape.size() == 0) return;
  const MatrixShape shape(view.shape);
  const SlotView *const exp_avg = view.find("exp_avg"), *const exp_avg_sq = view.find("exp_avg_sq");
  const float keep = static_cast<float>(1 - o.lr * o.weight_decay);

  Tensor estimate;
  if (view.find("basis")) {
    estimate = gradient_of(view);
    advance_low_rank(o, view, estimate);
    if (view.probe && view.probe->element >= 0)
      view.note("e", "Q′C′/(1 − β₁ᵗ) + (g − Q′Q′ᵀg)",
                static_cast<double>(estimate.data<float>()[view.probe->element]));
  }
  FactorValues factors(shape);
  if (!exp_avg_sq) {
    const RunningMeans means = running_means(view, "exp_avg_sq");
    means.update(view, matrix_pass(view, Squares{1e-30f}), o.beta2, "R", "C");
    factors = means.moment(shape, 0);
  }
  const auto move = [&]<bool kAverages, bool kFactored>(const auto& slots) {
    const AdamMoments moments(o.lr, kAverages ? o.beta1 : 0, o.beta2, o.eps, view.t);
    apply_pass(view,
               Move<kAverages, kFactored>{moments, keep, factors.view(),
                                          estimate.defined() ? estimate.data<float>() : nullptr,
                                          shape.columns},
               slots);
  };
  if (exp_avg && exp_avg_sq)
    move.template operator()<true, false>(std::array{*exp_avg, *exp_avg_sq});
  else if (exp_avg)
    move.template operator()<true, true>(std::array{*exp_avg});
  else if (exp_avg_sq)
    move.template operator()<false, false>(std::array{*exp_avg_sq});
  else
    move.template operator()<false, true>(std::array<SlotView, 0>{});
}

}  // namespace minima

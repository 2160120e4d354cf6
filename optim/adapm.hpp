/// AdaPM: momentum only where it matters (Y. Zhang, Y. Liu, C. Fang 2025, arXiv:2510.09103). This is
/// our reading of its abstract: which tensors keep what follows the abstract and a summary of the
/// paper, the estimator of the low-rank kind is ours.
///
///   v ← β₂ v + (1 − β₂) g²,  v̂ = v/(1 − β₂ᵗ)      as in AdamW; with `factored` from means of rows and
///                                                 columns, v = R Cᵀ/mean(R)
///   p ← (1 − lr·λ) p
///   p ← p − lr · e / (√v̂ + ε)                     e estimates the mean gradient, by kind:
///
///   full      m ← β₁ m + (1 − β₁) g               e = m/(1 − β₁ᵗ)
///   none                                          e = g: unbiased as it is
///   low_rank  Q [n, r], B [r, m], n ≤ m           the shorter side first: else gᵀ is read for g
///             A = β₁ Q B + (1 − β₁) g             never formed
///             W = rows of B, of length 1          pseudo-random where a row is zero
///             Q′ = orthonormal columns of A Wᵀ,  B′ = Q′ᵀ A
///             e = Q′ B′/(1 − β₁ᵗ) + (g − Q′ Q′ᵀ g)     averaged and corrected inside the subspace,
///                                                 the raw gradient at full weight outside it
///
/// A kind is chosen by name: `full`, `none` and `low_rank` are patterns, tried in this order. Vectors, what matches
/// nothing, and stacks of matrices that match `low_rank` keep full momentum. Of rank 0, low_rank is none; of rank
/// min(n, m), full.
#pragma once

#include <tuple>

#include "core/each.hpp"
#include "core/ops/matmul.hpp"
#include "core/tensor.hpp"
#include "optim/adam.hpp"
#include "optim/factored.hpp"
#include "optim/storage/plan.hpp"

namespace minima {

struct AdaPm {
  static constexpr std::string_view name = "adapm";

  struct Options {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-2;
    i64 rank = 16;
    bool factored = false;
    std::string full = "";
    std::string none = "embeddings|attention.out_lin|attention.output";
    std::string low_rank = "q_lin|k_lin|query|key|ffn.lin|intermediate|output.dense";

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta1", &Options::beta1, below_one},
                        Field{"beta2", &Options::beta2, below_one},
                        Field{"eps", &Options::eps, nonnegative},
                        Field{"weight_decay", &Options::weight_decay, nonnegative},
                        Field{"rank", &Options::rank, Range{0, 4096}},
                        Field{"factored", &Options::factored},
                        Field{"full", &Options::full},
                        Field{"none", &Options::none},
                        Field{"low_rank", &Options::low_rank}};
    }
  };

  static constexpr std::array patterns{std::pair{"full", &Options::full},
                                       std::pair{"none", &Options::none},
                                       std::pair{"low_rank", &Options::low_rank}};

  enum class Momentum { full, none, low_rank };
  static Momentum momentum_of(const Options& o, const std::string& name, const Shape& shape) {
    if (shape.rank() < 2 || matches(name, o.full)) return Momentum::full;
    if (matches(name, o.none)) return Momentum::none;
    if (shape.rank() != 2 || !matches(name, o.low_rank)) return Momentum::full;
    return o.rank == 0 ? Momentum::none : Momentum::low_rank;
  }
  static i64 rank_of(const Options& o, const Shape& shape) {
    return std::min({o.rank, shape[0], shape[1]});
  }

  static std::vector<Slot> slots(const Options& o, const ParameterShape& parameter) {
    const Shape& shape = parameter.shape;
    const Momentum momentum = momentum_of(o, parameter.name, shape);
    std::vector<Slot> slots{{"exp_avg_sq", "v", Sign::nonnegative}};
    if (o.factored && shape.rank() >= 2) slots = factored_slots("exp_avg_sq", shape, "R", "C");
    if (momentum == Momentum::full) slots.insert(slots.begin(), {"exp_avg", "m"});
    if (momentum == Momentum::low_rank) {
      const auto [n, m] = std::minmax({shape[0], shape[1]});
      const i64 r = rank_of(o, shape);
      slots.insert(slots.begin(),
                   {{"basis", "Q", Sign::any, Shape{n, r}}, {"coef", "B", Sign::any, Shape{r, m}}});
    }
    return slots;
  }
  /// With low rank e, and beside it first W, B Wᵀ, Y, Q′ᵀ Q, Q′ᵀ g and what is kept of B (low_rank_estimate), then the sums.
  static i64 temporary(const Options& o, const ParameterShape& parameter) {
    const Shape& shape = parameter.shape;
    const i64 sums = o.factored && shape.rank() >= 2 ? temporary_of<Squares>(shape) : 0;
    if (momentum_of(o, parameter.name, shape) != Momentum::low_rank) return sums;
    const auto [n, m] = std::minmax({shape[0], shape[1]});
    const i64 r = rank_of(o, shape);
    return shape.size() + std::max(sums, r * (3 * m + n + 2 * r));
  }

  /// Entry (i, j) of W where row i of B is zero: splitmix64 of the place, as a number in [−1, 1).
  MINIMA_HD static double pseudo_random(i64 i, i64 j) {
    u64 z = (static_cast<u64>(i) << 32) + static_cast<u64>(j) + 1 + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return 2 * (static_cast<double>(z >> 11) * 0x1p-53) - 1;
  }

  /// W: the rows of B [r, m] at length 1.
  struct Directions {
    i64 m;
    const float* B;
    float* W;
    template <class Team>
    MINIMA_HD void operator()(const Team& team, i64 i) const {
      const float* const from = B + i * m;
      const double squares = ops::row_sum(team, m, [from](i64 j) MINIMA_INLINE {
        return static_cast<double>(from[j]) * static_cast<double>(from[j]);
      });
      const double length = sqrt(squares);
      team.each(m, [=, to = W + i * m](i64 j) MINIMA_INLINE {
        to[j] = static_cast<float>(length > 0 ? static_cast<double>(from[j]) / length
                                              : pseudo_random(i, j));
      });
    }
  };

  /// Makes the columns of Y [n, r] orthonormal: modified Gram–Schmidt, two passes. A column of which
  /// at most 10⁻⁶ remains is one of the others' span, and becomes zero. `columns` is room for them all.
  struct Orthonormalize {
    i64 n, r;
    float* Y;
    double* columns;
    template <class Team>
    MINIMA_HD void operator()(const Team& team, i64) const {
      const auto dot = [&](const double* a, const double* b) MINIMA_INLINE {
        return ops::row_sum(team, n, [=](i64 i) MINIMA_INLINE { return a[i] * b[i]; });
      };
      for (i64 k = 0; k < r; ++k) {
        double* const y = columns + k * n;
        float* const from = Y + k;
        team.each(n, [=, r = r](i64 i) MINIMA_INLINE { y[i] = static_cast<double>(from[i * r]); });
        const double before = sqrt(dot(y, y));
        for (int pass = 0; pass < 2; ++pass)
          for (const double* q = columns; q < y; q += n) {
            const double along = dot(y, q);
            team.each(n, [=](i64 i) MINIMA_INLINE { y[i] -= along * q[i]; });
          }
        const double left = sqrt(dot(y, y)), factor = left > 1e-6 * before ? 1 / left : 0;
        team.each(n, [=, r = r](i64 i) MINIMA_INLINE {
          y[i] *= factor;
          from[i * r] = static_cast<float>(y[i]);
        });
      }
    }
  };

  /// B′ = β₁ (Q′ᵀ Q) B + (1 − β₁) Q′ᵀ g, of which `kept` is the first part and D comes in as Q′ᵀ g;
  /// D ← B′/(1 − β₁ᵗ) − Q′ᵀ g.
  struct Coefficients {
    const StepView* view;
    double beta1;
    const float* kept;
    float *B, *D;
    MINIMA_HD void operator()(i64 i) const {
      const float next = kept[i] + to_float(1 - beta1) * D[i];
      const double correction = 1 / (1 - integer_power(beta1, view->t));
      D[i] = next * to_float(correction) - D[i];
      if (!view->skipped) B[i] = next;
    }
  };
  struct Basis {
    const StepView* view;
    const float* next;
    float* Q;
    MINIMA_HD void operator()(i64 i) const {
      if (!view->skipped) Q[i] = next[i];
    }
  };

  /// Advances basis and coef of one parameter, and gives the estimate e [rows, columns].
  template <class Passes>
  static Tensor low_rank_estimate(const Options& o, Passes& passes) {
    using ops::Factor, ops::Transpose;
    const StepView& view = passes.on_host();
    const i64 rows = view.shape[0], width = view.shape[1], r = rank_of(o, view.shape);
    const bool flip = rows > width;
    const i64 n = std::min(rows, width), m = std::max(rows, width);
    const float b1 = to_float(o.beta1), one_minus_b1 = to_float(1 - o.beta1);
    float *const Q = view.means[0], *const B = view.means[1];
    const auto device = passes.device();
    const auto room = [&](i64 height, i64 across) {
      return Tensor::empty({height, across}, DType::f32, passes.place());
    };
    Tensor estimate = room(rows, width);
    float* const G = estimate.data<float>();
    passes.copy_gradient(G);
    const Factor g =
        Factor{G, rows, width}.transposed(flip ? Transpose::yes : Transpose::no);  // [n, m]

    // Y = β₁ Q (B Wᵀ) + (1 − β₁) g Wᵀ
    Tensor W = room(r, m), BW = room(r, r), Y = room(n, r);
    float *const w = W.data<float>(), *const bw = BW.data<float>(), *const next = Y.data<float>();
    each_row(device, r, m, Directions{m, B, w});
    gemm(device, 1, Factor{B, r, m}, Factor{w, r, m}.transposed(), 0, bw);
    gemm(device, one_minus_b1, g, Factor{w, r, m}.transposed(), 0, next);
    gemm(device, b1, Factor{Q, n, r}, Factor{bw, r, r}, 1, next);
    {
      Tensor columns = Tensor::empty({r, n}, DType::f64, passes.place());
      each_row(device, 1, n, Orthonormalize{n, r, next, columns.data<double>()});  // Q′
    }

    // B′ = β₁ (Q′ᵀ Q) B + (1 − β₁) Q′ᵀ g;   e = g + Q′ D
    Tensor QQ = room(r, r), Qg = room(r, m), kept = room(r, m);
    float *const qq = QQ.data<float>(), *const D = Qg.data<float>();
    gemm(device, 1, Factor{next, n, r}.transposed(), Factor{Q, n, r}, 0, qq);
    gemm(device, 1, Factor{next, n, r}.transposed(), g, 0, D);
    gemm(device, b1, Factor{qq, r, r}, Factor{B, r, m}, 0, kept.data<float>());
    each(device, r * m, Coefficients{passes.view(), o.beta1, kept.data<float>(), B, D}, 1);
    each(device, n * r, Basis{passes.view(), next, Q}, 1);
    if (flip)
      gemm(device, 1, Factor{D, r, m}.transposed(), Factor{next, n, r}.transposed(), 1, G);
    else
      gemm(device, 1, Factor{next, n, r}, Factor{D, r, m}, 1, G);
    return estimate;
  }

  /// After the pass that sums up g²: R, C and their moment.
  struct Means {
    double beta2;
    template <class Team>
    MINIMA_HD void operator()(const Team& team, const StepView& x, i64 matrix) const {
      const RunningMeans means = running_means(x, x.mean_count - 2, matrix);
      means.update(team, x.workspace, beta2);
      means.moment(team, 0, x.workspace.factors);
    }
  };

  /// What the last pass needs of the options: beta1 where m is kept, else 0; and e [rows, columns]; null: g, or m.
  struct Numbers {
    double lr, beta1, beta2, eps, weight_decay;
    const float* estimate;
  };
  /// The last pass. Slots: m with full momentum, v unless kFactored.
  template <bool kFactored>
  struct Move {
    AdamMoments moments;
    float keep;
    const float* estimate;

    MINIMA_HD static Move prepare(const Numbers& o, const StepView& x) {
      return {AdamMoments(o.lr, o.beta1, o.beta2, o.eps, x.t), to_float(1 - o.lr * o.weight_decay),
              o.estimate};
    }
    template <class T, class... S>
    MINIMA_HD void operator()(const MatrixRow& row, i64 j, T& p, T g, S&... slots) const {
      constexpr bool kAverages = sizeof...(S) == (kFactored ? 1 : 2);
      const auto slot = std::tie(slots...);
      T e = estimate ? T(estimate[row.begin + j]) : g;
      if constexpr (kAverages) {
        T& m = std::get<0>(slot);
        moments.average(g, m);
        e = m;
      }
      if constexpr (kFactored) {
        p = keep * p - moments.update(e, named("v", T(row.r[0] * T(row.c[0][j]))));
      } else {
        T& v = std::get<sizeof...(S) - 1>(slot);
        moments.average_square(g, v);
        p = keep * p - moments.update(e, v);
      }
    }
    template <class F>
    void constants(const F& f, const MatrixRow& row, i64 j) {
      moments.constants(f), f("(1 − lr·λ)", keep);
      if (estimate) f("e", estimate[row.begin + j]);
      if constexpr (kFactored) f("R/mean(R)", row.r[0]), f("C", row.c[0][j]);
    }
  };

  /// Parameters of one kind are stepped together; those of low rank one by one, for each makes a copy of its gradient.
  struct Kind {
    Momentum momentum;
    bool factored;
    std::string alone;
    auto operator<=>(const Kind&) const = default;
  };

  template <class Passes>
  static void step(const Options& o, Passes& passes) {
    const auto kind_of = [&](const StepView& x) {
      const Momentum momentum = momentum_of(o, x.parameter->name, x.shape);
      const bool alone = momentum == Momentum::low_rank;
      return Kind{momentum, o.factored && !x.matrix.vector, alone ? x.parameter->name : ""};
    };
    passes.by_kind(kind_of, [&](auto& of_kind, const Kind& kind) {
      const bool factored = kind.factored, full = kind.momentum == Momentum::full;
      Tensor estimate;
      if (kind.momentum == Momentum::low_rank) {
        estimate = low_rank_estimate(o, of_kind);
        of_kind.tell([&](const StepView& x) {
          x.note("β₁", "", o.beta1);
          if (const i64 at = x.probe->element; at >= 0)
            x.note("e", "Q′B′/(1 − β₁ᵗ) + (g − Q′Q′ᵀg)",
                   static_cast<double>(estimate.data<float>()[at]));
        });
      }
      const Numbers numbers{o.lr,           full ? o.beta1 : 0,
                            o.beta2,        o.eps,
                            o.weight_decay, estimate.defined() ? estimate.data<float>() : nullptr};
      if (!factored && full) return of_kind.apply(pass<Move<false>>(numbers), first_slots<2>);
      if (!factored) return of_kind.apply(pass<Move<false>>(numbers), first_slots<1>);
      of_kind.sums(pass<Squares>(1e-30));
      of_kind.between(Means{o.beta2});
      of_kind.tell([&](const StepView& x) {
        x.note("β₂", "", o.beta2);
        note_means(x, running_means(x, x.mean_count - 2),
                   {"R", "C", "β₂", "(1 − β₂)", "g² + 10⁻³⁰", "R/mean(R)"});
      });
      if (full) return of_kind.apply(pass<Move<true>>(numbers), first_slots<1>);
      of_kind.apply(pass<Move<true>>(numbers), first_slots<0>);
    });
  }
};

}  // namespace minima

/// A rule from outside of optim/ whose rows and columns keep the largest, in place of sums: SM3 (Anil, Gupta, Koren, Singer
/// 2019, arXiv:1901.11150, SM3-II), of a vector Adagrad.
///
///   ν = min(R, C) + g²                            of a vector C + g²
///   p ← p − lr · g/(√ν + ε)
///   R ← largest ν of a row,  C ← of a column
#pragma once

#include "optim/factored.hpp"
#include "optim/rule.hpp"

namespace minima::test {

struct Sm3 {
  static constexpr std::string_view name = "sm3";
  struct Options {
    double lr = 0.1, eps = 1e-8;
    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"eps", &Options::eps, positive}};
    }
  };

  static std::vector<Slot> slots(const Options&, const ParameterShape& parameter) {
    return factored_slots("accumulator", parameter.shape, "R", "C");
  }

  /// R and C to where passes see them; a vector has no R that could be the smaller.
  struct Show {
    template <class Team>
    MINIMA_HD void operator()(const Team& team, const StepView& x, i64 matrix) const {
      const RunningMeans kept = running_means(x, 0, matrix);
      const i64 rows = x.matrix.rows, columns = x.matrix.columns;
      team.each(rows, [R = kept.R ? kept.row_means() : nullptr,
                       r = x.workspace.factors.r[0] + matrix * rows](i64 i)
                          MINIMA_INLINE { r[i] = R ? R[i] : HUGE_VALF; });
      team.each(columns, [C = kept.column_means(), c = x.workspace.factors.c[0] + matrix * columns](
                             i64 j) MINIMA_INLINE { c[j] = C[j]; });
    }
  };
  /// What the pass found of them.
  struct Keep {
    template <class Team>
    MINIMA_HD void operator()(const Team& team, const StepView& x, i64 matrix) const {
      const RunningMeans kept = running_means(x, 0, matrix);
      const auto store = [&](float* to, const double* found, i64 n) MINIMA_INLINE {
        team.each(n, [=](i64 i) MINIMA_INLINE { to[i] = to_float(found[i]); });
      };
      const i64 rows = x.matrix.rows, columns = x.matrix.columns;
      if (kept.R) store(kept.row_means(), x.workspace.rows + matrix * rows, rows);
      store(kept.column_means(), x.workspace.columns + matrix * columns, columns);
    }
  };

  struct Moment {
    MINIMA_HD static Moment prepare(const Options&, const StepView&) { return {}; }
    template <class T>
    MINIMA_HD T of(const MatrixRow& row, i64 j, T g) const {
      return smaller(T(row.r[0]), T(row.c[0][j])) + g * g;
    }
    MINIMA_HD Largest operator()(const MatrixRow& row, i64 j, float g) const {
      return {of(row, j, g)};
    }
  };

  struct Move {
    float lr, eps;
    MINIMA_HD static Move prepare(const Options& o, const StepView&) {
      return {to_float(o.lr), to_float(o.eps)};
    }
    template <class T>
    MINIMA_HD void operator()(const MatrixRow& row, i64 j, T& p, T g) const {
      p = p - lr * g / (sqrt(Moment{}.of(row, j, g)) + eps);
    }
  };

  template <class Passes>
  static void step(const Options& o, Passes& passes) {
    passes.between(Show{});
    passes.sums(pass<Moment>(o));
    passes.between(Keep{});
    passes.apply(pass<Move>(o), first_slots<0>);
  }
};

}  // namespace minima::test

/// Passes over a parameter for rules that keep means of rows and columns in place of every element
/// (Adafactor, CAME). A step of such a rule is a template on what makes the passes: `PassesOnCpu` over one
/// parameter, whose gradient stays in the cache between them, or that of optim/engine/cuda/passes.hpp over all
/// parameters at once, each pass one launch.
///
///     passes.sums(pass<Squares>(eps1));               // sums over rows, columns, everything
///     passes.between(Means{o});                       // what is made of them, by a team for each matrix
///     passes.sums(pass<SquareOfUpdate>(o));           // one sum over everything
///     passes.apply(pass<Move>(o), first_slots<1>);    // changes the value and the first dense slot
///
/// Each of these is a named type of plain data. A pass has, like an elementwise rule, `prepare(options, view)`:
/// its constants for one parameter, where it takes what earlier passes left in view.workspace. It is called
/// for each element, with the values of the dense slots that were asked for: to sum,
///
///     pass(row, j, g, p, slot values…)                the gradient g scaled; p is left out where it has no part
///
/// which gives what the element adds: a Term to its row and column, a Total to the sum of all, Terms to
/// each; or a Largest, of which row and column keep the largest in place of a sum. It may *read each row twice*, again when
/// the row's sum is known and the row still in a cache:
///
///     pass.weight(view, row, sum)                     a number for the row
///     pass.weighted(weight, g)                        what each element then adds to workspace.weighted of its column
///
/// To apply, it is called as a formula (optim/engine/loop.hpp). What stands between is called with (team, view, matrix) for
/// each of the parameter's matrices, `team` as in core/each.hpp; a number of the whole parameter (in a slot of `Shape{}`, or
/// for later passes of this step in workspace.numbers[1]) it changes only where `matrix` is 0 and team.leads().
///
/// A pass reads the gradient once from memory and makes no temporary of the tensor's size. Sums are formed in chunks of rows,
/// and the chunks' sums are added in their order: the bits do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/device.hpp"
#include "core/ops/row.hpp"
#include "optim/engine/loop.hpp"

namespace minima {

/// What one element adds.
struct Total {
  float total;
};
struct Term {
  float matrix;
};
struct Terms {
  float matrix, total;
};
/// Of which row and column keep the largest; at least 0.
struct Largest {
  float matrix;
};

/// The dense slots that a pass sees.
template <std::size_t K>
inline constexpr std::make_index_sequence<K> first_slots{};

/// A pass with its options, before it is known for which parameter.
template <class P, class O>
struct PassOf {
  O options;
  MINIMA_HD P on(const StepView& view) const {
    if constexpr (ElementwiseRule<P>)
      return P::prepare(options, view.t);
    else
      return P::prepare(options, view);
  }
};
template <class P, class O>
PassOf<P, O> pass(const O& options) {
  return {options};
}

namespace detail {

/// Whether a pass over the slots K asks for the weight too.
template <class P, std::size_t... K>
inline constexpr bool kSeesWeight = std::is_invocable_v<const P&, const MatrixRow&, i64, float,
                                                        float, decltype(static_cast<float>(K))...>;

/// What a pass over the slots K adds for an element, with the weight or without.
template <std::size_t... K, class P>
MINIMA_HD auto added(const P& pass, const MatrixRow& row, i64 j, float g, const float& p,
                     const auto&... slots) {
  if constexpr (kSeesWeight<P, K...>)
    return pass(row, j, g, p, slots...);
  else
    return pass(row, j, g, slots...);
}
template <class P, std::size_t... K>
using Added = decltype(added<K...>(std::declval<const P&>(), std::declval<const MatrixRow&>(), 0,
                                   0.0f, 0.0f, static_cast<float>(K)...));
template <class Term>
concept GoesToMatrix = requires(Term term) {
  term.matrix;
};
template <class Term>
concept GoesToTotal = requires(Term term) {
  term.total;
};

/// How what goes to a row or column comes together there, from 0 on.
template <class Term>
using Merge = std::conditional_t<std::is_same_v<Term, Largest>, ops::Larger, ops::Plus>;

/// Whether a pass reads each row a second time, when its sum is known.
template <class P>
concept ReadsTwice = requires {
  &P::weighted;
};

struct PieceSums {
  double row = 0, total = 0;
};

/// Adds to `columns`, from the piece's first on, where the pass has such sums.
template <std::size_t... K, class P>
PieceSums sum_piece(const P& pass, const Factors& factors, const Piece& piece, float* columns) {
  using Of = Added<P, K...>;
  PieceSums sums;
  vectorize([&]() MINIMA_INLINE {
    const P local = pass;  // copies, which no store can change
    const Piece x = piece;
    const MatrixRow row = factors.row(x.i);
    float rows[ops::kLanes] = {}, totals[ops::kLanes] = {};
    const auto add = [&](i64 k, i64 lane) MINIMA_INLINE {
      const Of term = added<K...>(local, row, x.j + k, x.gradient(k), x.p[k], x.s[K][k]...);
      if constexpr (GoesToMatrix<Of>) {
        const Merge<Of> merge;
        columns[k] = merge(columns[k], term.matrix);
        rows[lane] = merge(rows[lane], term.matrix);
      }
      if constexpr (GoesToTotal<Of>) totals[lane] += term.total;
    };
    // All sums in one loop, so that gradient, weights and slots are read side by side.
    i64 k = 0;
    for (; k + ops::kLanes <= x.n; k += ops::kLanes) {
      fetch_ahead(x.g + k);
      if constexpr (kSeesWeight<P, K...>) fetch_ahead(x.p + k);
      (fetch_ahead(x.s[K] + k), ...);
#pragma omp simd
      for (i64 lane = 0; lane < ops::kLanes; ++lane) add(k + lane, lane);
    }
    for (i64 lane = 0; k + lane < x.n; ++lane) add(k + lane, lane);
    const auto together = [](const float* lanes, auto merge) MINIMA_INLINE {
      return static_cast<double>(ops::row_fold(
          ops::kLanes, 0.0f, merge, [lanes](i64 lane) MINIMA_INLINE { return lanes[lane]; }));
    };
    sums = {together(rows, Merge<Of>{}), together(totals, ops::Plus{})};
  });
  return sums;
}

/// Adds to `columns` what a piece adds when it is read again.
template <class P>
void sum_piece_again(const P& pass, float weight, const Piece& piece, float* columns) {
  vectorize([&]() MINIMA_INLINE {
    const P local = pass;
    const Piece x = piece;
    MINIMA_INDEPENDENT
    for (i64 k = 0; k < x.n; ++k) columns[k] += local.weighted(weight, x.gradient(k));
  });
}

/// What a pass over one parameter adds for a piece, and, where it reads each row twice, for a piece whose row's sum is known.
struct Summands {
  std::size_t slots;
  bool matrix, largest, total;
  std::function<PieceSums(const Piece& piece, float* columns)> piece;
  std::function<void(const Piece& piece, double row_sum, float* weighted)> again = {};
};

/// Leaves the sums in the workspace.
void matrix_sums(const StepView& view, const Summands& summands);

/// How many floats the column sums of all chunks of rows are.
i64 chunk_sum_count(const MatrixShape& shape);

}  // namespace detail

/// How many floats a pass with sums over columns allocates temporarily on a CPU.
template <class P>
i64 temporary_of(const Shape& shape) {
  return (detail::ReadsTwice<P> ? 2 : 1) * detail::chunk_sum_count(MatrixShape(shape));
}

/// Makes no pass: finds the most floats that one of them would allocate temporarily.
class PassesToCount {
 public:
  explicit PassesToCount(const Shape& shape) : shape_(shape) {}
  i64 floats() const { return floats_; }

  template <class P, class O, std::size_t... K>
  void sums(const PassOf<P, O>&, std::index_sequence<K...> = {}) {
    if constexpr (detail::GoesToMatrix<detail::Added<P, K...>>)
      floats_ = std::max(floats_, temporary_of<P>(shape_));
  }
  template <class F>
  void tell(const F&) const {}
  template <class F>
  void between(const F&) {}
  template <class P, class O, std::size_t... K>
  void apply(const PassOf<P, O>&, std::index_sequence<K...>) {}
  template <class Kind, class F>
  void by_kind(const Kind&, const F&) {
    static_assert(sizeof(F) == 0,
                  "a rule with steps of several kinds says `temporary` itself: optim/rule.hpp");
  }

 private:
  const Shape& shape_;
  i64 floats_ = 0;
};

class PassesOnCpu {
 public:
  explicit PassesOnCpu(const StepView& view);
  PassesOnCpu(const PassesOnCpu&) = delete;

  Cpu device() const { return {}; }
  Device place() const { return {}; }
  /// Of one parameter's passes: its view as functors see it, and for the host, which may not look behind
  /// its pointers.
  const StepView* view() const { return &view_; }
  const StepView& on_host() const { return view_; }
  /// Calls f(view) where somebody looks on.
  template <class F>
  void tell(const F& f) const {
    if (view_.probe) f(view_);
  }
  /// Calls f(passes, kind) for the parameters of each kind(view).
  template <class Kind, class F>
  void by_kind(const Kind& kind, const F& f) {
    f(*this, kind(view_));
  }

  template <class P, class O, std::size_t... K>
  void sums(const PassOf<P, O>& pass, std::index_sequence<K...> = {}) {
    using Term = detail::Added<P, K...>;
    static_assert(detail::GoesToMatrix<Term> || detail::GoesToTotal<Term>,
                  "a pass to sum gives a Term, a Total, Terms or a Largest");
    static_assert(
        !detail::ReadsTwice<P> || (detail::GoesToMatrix<Term> && sizeof...(K) == 0),
        "a pass that reads rows twice gives a Term, Terms or a Largest, and sees no slots");
    const P on = pass.on(view_);
    detail::Summands summands{.slots = sizeof...(K),
                              .matrix = detail::GoesToMatrix<Term>,
                              .largest = std::is_same_v<Term, Largest>,
                              .total = detail::GoesToTotal<Term>,
                              .piece = [&](const Piece& piece, float* columns) {
                                return detail::sum_piece<K...>(on, view_.workspace.factors, piece,
                                                               columns);
                              }};
    if constexpr (detail::ReadsTwice<P>) {
      summands.again = [&](const Piece& piece, double row_sum, float* weighted) {
        detail::sum_piece_again(on, on.weight(view_, piece.i, row_sum), piece, weighted);
      };
    }
    detail::matrix_sums(view_, summands);
  }
  template <class F>
  void between(const F& f) {
    for (i64 matrix = 0; matrix < view_.matrix.batch; ++matrix)
      vectorize([&]() MINIMA_INLINE { f(ops::Alone{}, view_, matrix); });
  }
  template <class P, class O, std::size_t... K>
  void apply(const PassOf<P, O>& pass, std::index_sequence<K...> slots) {
    const FormulaStep step = formula_step(view_, view_.matrix.columns, pass.on(view_), slots);
    run({&step, 1});
  }
  /// The gradient, scaled and guarded.
  void copy_gradient(float* to) const;

 private:
  StepView view_;
  std::vector<double> sums_;
  std::vector<float> factors_;
};

}  // namespace minima

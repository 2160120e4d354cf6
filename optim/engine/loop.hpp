/// The loop of every step: it opens a stretch of weights, gradient and state, hands it over piece by
/// piece, and closes it. All of that is compiled once, in loop.cpp. Of a formula only this is
/// compiled, for each vector unit: a loop over the floats of one piece.
///
/// A *formula* is an elementwise rule, formula(p, g, slot values…), or what a matrix rule applies,
/// formula(row, j, p, g, slot values…) for column j of a MatrixRow, which is looked up once for all of its
/// columns. All but g come by reference, and it is a template on their type, so that a probe can trace
/// one element.
#pragma once

#include <bit>
#include <functional>
#include <span>
#include <utility>

#include "core/code_map.hpp"
#include "core/cpu/simd.hpp"
#include "optim/engine/view.hpp"
#include "optim/rule.hpp"

namespace minima {

/// Whether a gradient's entry may be used: always, or, where `guard` is on, if it and its square are finite: below 2⁶⁴.
struct Guard {
  MINIMA_HD explicit Guard(bool on) : limit(on ? 0x5f800000u : ~0u) {}
  MINIMA_HD bool on() const { return limit != ~0u; }
  MINIMA_HD bool passes(float g) const { return block8::magnitude(g) < limit; }
  u32 limit;
};

/// x cut to ± limit, as in torch.nn.utils.clip_grad_value_: NaN stays NaN.
MINIMA_HD float cut(float x, float limit) { return x > limit ? limit : x < -limit ? -limit : x; }

/// ok ? a : b by bits. From a plain choice GCC makes masked stores, which are slow in AVX2.
MINIMA_HD float select(bool ok, float a, float b) {
  const u32 mask = 0u - static_cast<u32>(ok);
  return std::bit_cast<float>((std::bit_cast<u32>(a) & mask) | (std::bit_cast<u32>(b) & ~mask));
}

/// Neighbouring elements of one row, opened as floats.
struct Piece {
  i64 i, j, n = 0;           ///< the row, the first column, how many
  float* p = nullptr;        ///< weights
  const float* g = nullptr;  ///< the gradient, before scaling
  float scale;
  Guard guard;
  std::array<float*, kMaxSlots> s = {};
  /// Scaled; 0 where it may not be used.
  MINIMA_HD float gradient(i64 k) const {
    const float scaled = scale * g[k];
    return guard.passes(scaled) ? scaled : 0.0f;
  }
};

enum class Access { read, write };

/// Calls f(piece) for the elements begin … end-1 of a parameter seen as rows of `width`, with the first
/// `slots` of its slots, on the calling thread. To write, begin must be a multiple of
/// view.unit(), or with lazy rows of the blocks of block8; rows that do not move are left out.
void for_pieces(const StepView& view, std::size_t slots, i64 width, i64 begin, i64 end,
                Access access, const std::function<void(const Piece&)>& f);

/// One element's numbers as Traced scalars. A formula may name its constants by constants(f), or, in a matrix rule,
/// constants(f, row, j).
struct TracedElement {
  Traced p, g;
  std::array<Traced, kMaxSlots> s;
};

/// For each lane of the formula's loop the largest |weight| made so far, as bits.
struct LargestWeights {
  static constexpr i64 kLanes = 2 * kLine<float>;
  alignas(64) u32 lane[kLanes] = {};
};

/// A formula and what it changes.
struct FormulaStep {
  const StepView* view;
  std::size_t slots;  ///< of the view's, the first
  i64 width;
  std::function<void(const Piece& piece, LargestWeights& weights)> update;
  std::function<void(i64 i, i64 j, TracedElement& x)> trace;
};

/// What a formula is told of row i: an elementwise rule nothing.
template <class Formula>
MINIMA_HD MatrixRow row_for(const Factors& factors, i64 i) {
  if constexpr (ElementwiseRule<Formula>)
    return {};
  else
    return factors.row(i);
}

template <class Formula, class T, class... S>
MINIMA_HD void apply_formula(const Formula& formula, const MatrixRow& row, i64 j, T& p, T g,
                             S&... state) {
  if constexpr (ElementwiseRule<Formula>)
    formula(p, g, state...);
  else
    formula(row, j, p, g, state...);
}

/// The step of a formula on the slots K of a parameter, which is seen as rows of `width`.
template <class Formula, std::size_t... K>
FormulaStep formula_step(const StepView& view, i64 width, const Formula& formula,
                         std::index_sequence<K...>) {
  const auto update = [&view, formula](const Piece& piece, LargestWeights& weights) {
    vectorize([&]() MINIMA_INLINE {
      const Formula local = formula;  // copies, which no store can change
      const MatrixRow row = row_for<Formula>(view.workspace.factors, piece.i);
      float* const p = piece.p;
      const float *const g = piece.g, scale = piece.scale;
      const Guard guard = piece.guard;
      const std::array<float*, sizeof...(K)> s{piece.s[K]...};
      const i64 j = piece.j, n = piece.n;
      const auto change = [&](i64 k) MINIMA_INLINE {
        const float gradient = scale * g[k], before = p[k];
        float weight = before;
        std::array<float, sizeof...(K)> state{s[K][k]...};
        apply_formula(local, row, j + k, weight, gradient, state[K]...);
        const bool ok = guard.passes(gradient);
        p[k] = select(ok, weight, before);
        ((s[K][k] = ok ? state[K] : 0.0f), ...);
      };
      // In a loop of its own, without which GCC does not vectorize the other.
      const auto note = [p, lanes = weights.lane](i64 from, i64 count) MINIMA_INLINE {
        for (i64 i = 0; i < count; ++i) {
          const u32 size = block8::magnitude(p[from + i]);
          lanes[i] = size > lanes[i] ? size : lanes[i];
        }
      };
      constexpr i64 kTogether = LargestWeights::kLanes;
      i64 k = 0;
      for (; k + kTogether <= n; k += kTogether) {
        // Also of the copies that for_pieces makes of other storages: to spare those took longer than it saved.
        for (i64 line = k; line < k + kTogether; line += kLine<float>)
          fetch_ahead(g + line), fetch_ahead(p + line), (fetch_ahead(s[K] + line), ...);
        MINIMA_INDEPENDENT
        for (i64 i = k; i < k + kTogether; ++i) change(i);
        note(k, kTogether);
      }
      MINIMA_INDEPENDENT
      for (i64 i = k; i < n; ++i) change(i);
      note(k, n - k);
    });
  };
  const auto trace = [&, formula](i64 i, i64 j, TracedElement& x) {
    Formula local = formula;
    const MatrixRow row = row_for<Formula>(view.workspace.factors, i);
    if constexpr (requires { local.constants(Trace::constant); })
      local.constants(Trace::constant);
    else if constexpr (requires { local.constants(Trace::constant, row, j); })
      local.constants(Trace::constant, row, j);
    apply_formula(local, row, j, x.p, x.g, x.s[K]...);
  };
  return {&view, sizeof...(K), width, update, trace};
}

/// Makes the steps, all together one list of tasks, which are cut by shapes and storages alone; shows
/// a probe its element.
void run(std::span<const FormulaStep> steps);

}  // namespace minima

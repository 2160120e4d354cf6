/// The loop of every step: it opens a stretch of weights, gradient and state, hands it over piece by
/// piece, and closes it. All of that is compiled once, in loop.cpp. Of a formula only this is
/// compiled, for each vector unit: a loop over the floats of one piece.
///
/// A *formula* has `row(i)`, which gives what changes row i of the parameter as a matrix: a functor
/// at(j, p, g, slot values…), all but g by reference, and a template on their type, so that a probe
/// can trace one element. What depends on the row is looked up once for it.
#pragma once

#include <bit>
#include <span>
#include <utility>
#include <vector>

#include "core/cpu/simd.hpp"
#include "optim/rule.hpp"
#include "optim/view.hpp"

namespace minima {

/// Whether a gradient's entry may be used: always, or, where `guard` is on, if it is finite.
struct Guard {
  MINIMA_HD explicit Guard(bool on) : limit(on ? 0x7f800000u : ~0u) {}
  MINIMA_HD bool passes(float g) const { return (std::bit_cast<u32>(g) & 0x7fffffffu) < limit; }
  u32 limit;
};

/// ok ? a : b by bits. From a plain choice GCC makes masked stores, which are slow in AVX2.
MINIMA_HD float select(bool ok, float a, float b) {
  const u32 mask = 0u - static_cast<u32>(ok);
  return std::bit_cast<float>((std::bit_cast<u32>(a) & mask) | (std::bit_cast<u32>(b) & ~mask));
}

/// Neighbouring elements of one row, opened as floats.
struct Piece {
  i64 i, j, n;     ///< the row, the first column, how many
  float* p;        ///< weights
  const float* g;  ///< the gradient, before scaling
  float scale;
  Guard guard;
  std::array<float*, kMaxSlots> s;
  /// Scaled; 0 where it may not be used.
  MINIMA_HD float gradient(i64 k) const {
    const float scaled = scale * g[k];
    return guard.passes(scaled) ? scaled : 0.0f;
  }
};

enum class Access { read, write };

namespace detail {
void run_pieces(const StepView& view, std::span<const SlotView> slots, i64 width, i64 begin,
                i64 end, Access access, void (*call)(const void* f, const Piece& piece),
                const void* f);
}  // namespace detail

/// Calls f(piece) for the elements begin … end-1 of a parameter seen as rows of `width`, on the
/// calling thread. To write, begin must be a multiple of the blocks of block8; rows that do not move
/// are left out.
template <class F>
void for_pieces(const StepView& view, std::span<const SlotView> slots, i64 width, i64 begin,
                i64 end, Access access, const F& f) {
  detail::run_pieces(
      view, slots, width, begin, end, access,
      [](const void* function, const Piece& piece) { (*static_cast<const F*>(function))(piece); },
      &f);
}

/// One element's numbers as Traced scalars.
struct TracedElement {
  Traced p, g;
  std::array<Traced, kMaxSlots> s;
};

/// Takes the letters of a formula's constants, and puts a mark in place of each, by which it is known
/// again in the trace.
struct ConstantMarks {
  std::vector<float>* marks;
  std::vector<Trace::Constant>* constants;
  void operator()(const char* letter, float& constant) const;
};

/// A formula, type-erased.
struct AnyFormula {
  const void* formula;
  void (*update)(const void* formula, const Piece& piece);
  void (*trace)(const void* formula, i64 i, i64 j, TracedElement& x, const ConstantMarks* marks);
};

namespace detail {

template <class Formula, std::size_t... K>
void update_piece(const Formula& formula, const Piece& piece, std::index_sequence<K...>) {
  vectorize([&]() MINIMA_INLINE {
    const auto row = formula.row(piece.i);
    float* const p = piece.p;
    const float *const g = piece.g, scale = piece.scale;
    const Guard guard = piece.guard;
    const std::array<float*, sizeof...(K)> s{piece.s[K]...};
    const i64 j = piece.j, n = piece.n;
#pragma GCC ivdep
    for (i64 k = 0; k < n; ++k) {
      const float gradient = scale * g[k], before = p[k];
      float weight = before;
      std::array<float, sizeof...(K)> state{s[K][k]...};
      row(j + k, weight, gradient, state[K]...);
      const bool ok = guard.passes(gradient);
      p[k] = select(ok, weight, before);
      ((s[K][k] = ok ? state[K] : 0.0f), ...);
    }
  });
}

template <class Formula, std::size_t... K>
void trace_element(const Formula& formula, i64 i, i64 j, TracedElement& x,
                   const ConstantMarks* marks, std::index_sequence<K...>) {
  auto row = formula.row(i);
  if constexpr (requires { row.constants(*marks); })
    if (marks) row.constants(*marks);
  row(j, x.p, x.g, x.s[K]...);
}

}  // namespace detail

/// Of a formula on K slots.
template <std::size_t K, class Formula>
AnyFormula any_formula(const Formula& formula) {
  return {&formula,
          [](const void* f, const Piece& piece) {
            detail::update_piece(*static_cast<const Formula*>(f), piece,
                                 std::make_index_sequence<K>());
          },
          [](const void* f, i64 i, i64 j, TracedElement& x, const ConstantMarks* marks) {
            detail::trace_element(*static_cast<const Formula*>(f), i, j, x, marks,
                                  std::make_index_sequence<K>());
          }};
}

/// A formula and what it changes.
struct FormulaStep {
  const StepView* view;
  std::span<const SlotView> slots;
  i64 width;
  AnyFormula formula;
};

/// Makes the steps, all together one list of tasks, which are cut by shapes and storages alone; shows
/// a probe its element.
void run(std::span<const FormulaStep> steps);

}  // namespace minima

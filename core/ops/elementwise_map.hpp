/// What the elementwise ops (core/ops/elementwise.hpp) do to one element, and how they walk through
/// operands that broadcast.
#pragma once

#include <array>

#include "core/each.hpp"
#include "core/ops/elementwise.hpp"

namespace minima::ops {

/// How N operands are walked beside a result: its dimensions, merged where no operand starts or
/// stops being broadcast, and each operand's step along them (0 where it is broadcast). The last
/// step is therefore 0 or 1.
template <std::size_t N>
struct Walk {
  int rank = 0;
  std::array<i64, Shape::kMaxRank> sizes{};
  std::array<std::array<i64, Shape::kMaxRank>, N> steps{};

  Walk(const Shape& result, const std::array<Shape, N>& operands) {
    // from the last dimension to the first; turned round at the end
    std::array<i64, N> elements;  // in the operand, within the dimensions passed so far
    elements.fill(1);
    for (int axis = result.rank() - 1; axis >= 0; --axis) {
      const i64 size = result[axis];
      if (size == 1) continue;
      std::array<i64, N> step;
      bool merges = rank > 0;
      for (std::size_t k = 0; k < N; ++k) {
        const int own = axis - result.rank() + operands[k].rank();
        const bool repeated = own < 0 || operands[k][own] == 1;
        step[k] = repeated ? 0 : elements[k];
        if (!repeated) elements[k] *= size;
        if (rank > 0) merges = merges && step[k] == steps[k][rank - 1] * sizes[rank - 1];
      }
      if (merges) {
        sizes[rank - 1] *= size;
        continue;
      }
      sizes[rank] = size;
      for (std::size_t k = 0; k < N; ++k) steps[k][rank] = step[k];
      ++rank;
    }
    if (rank == 0) {  // a single element
      sizes[rank++] = 1;
    }
    std::reverse(sizes.begin(), sizes.begin() + rank);
    for (auto& step : steps) std::reverse(step.begin(), step.begin() + rank);
  }

  /// Where in each operand its element for the k-th of the result stands.
  std::array<i64, N> places(i64 k) const {
    std::array<i64, N> at{};
    for (int axis = rank - 1; axis >= 0; --axis) {
      for (std::size_t n = 0; n < N; ++n) at[n] += k % sizes[axis] * steps[n][axis];
      k /= sizes[axis];
    }
    return at;
  }
};

template <class T, std::size_t N>
using Operands = std::array<const T*, N>;

/// out[k] = op of the operands' elements that belong to it.
template <class Op, class T, std::size_t N>
struct Map {
  static constexpr i64 kPack = 4;
  Walk<N> walk;
  T* out;
  Operands<T, N> in;

  MINIMA_HD void operator()(i64 k) const {
    Operands<T, N> at = in;
    i64 rest = k;
    for (int axis = walk.rank - 1; axis > 0; --axis) {
      const i64 i = rest % walk.sizes[axis];
      rest /= walk.sizes[axis];
      for (std::size_t n = 0; n < N; ++n) at[n] += i * walk.steps[n][axis];
    }
    for (std::size_t n = 0; n < N; ++n) at[n] += rest * walk.steps[n][0];
    if constexpr (N == 1) out[k] = Op{}(*at[0]);
    if constexpr (N == 2) out[k] = Op{}(*at[0], *at[1]);
    if constexpr (N == 3) out[k] = Op{}(*at[0], *at[1], *at[2]);
  }

  /// Where no operand is broadcast.
  MINIMA_HD bool in_packs() const {
    bool all = walk.rank == 1 && Four<T>::fits(out);
    for (std::size_t n = 0; n < N; ++n) all = all && walk.steps[n][0] == 1 && Four<T>::fits(in[n]);
    return all;
  }
  MINIMA_HD void pack(i64 k) const {
    Four<T> x[N], result;
    for (std::size_t n = 0; n < N; ++n) x[n] = Four<T>::load(in[n] + k);
    for (int i = 0; i < 4; ++i) {
      if constexpr (N == 1) result.x[i] = Op{}(x[0].x[i]);
      if constexpr (N == 2) result.x[i] = Op{}(x[0].x[i], x[1].x[i]);
      if constexpr (N == 3) result.x[i] = Op{}(x[0].x[i], x[1].x[i], x[2].x[i]);
    }
    result.store(out + k);
  }
};

// What backward maps: the gradient that comes in times the op's derivative.
template <class Op>
struct Derivative {
  template <class T>
  MINIMA_HD T operator()(T dy, T kept) const {
    return dy * Op{}.derivative(kept);
  }
};
template <class Op>
struct PartialA {
  template <class T>
  MINIMA_HD T operator()(T dy, T a, T b) const {
    return dy * Op{}.partial_a(a, b);
  }
};
template <class Op>
struct PartialB {
  template <class T>
  MINIMA_HD T operator()(T dy, T a, T b) const {
    return dy * Op{}.partial_b(a, b);
  }
};

struct Where {
  template <class T>
  MINIMA_HD T operator()(T condition, T a, T b) const {
    return condition != 0 ? a : b;
  }
};

/// Calls f with an Op and the number of its operands, for everything that is mapped: what a backend
/// writes out.
template <class... Ops, class F>
constexpr auto for_unary(OpList<Ops...>, const F& f) {
  return std::tuple{f.template operator()<Ops, 1>()...,
                    f.template operator()<Derivative<Ops>, 2>()...};
}
template <class... Ops, class F>
constexpr auto for_binary(OpList<Ops...>, const F& f) {
  return std::tuple{f.template operator()<Ops, 2>()...};
}
template <class... Ops, class F>
constexpr auto for_partials(OpList<Ops...>, const F& f) {
  return std::tuple{f.template operator()<PartialA<Ops>, 3>()...,
                    f.template operator()<PartialB<Ops>, 3>()...};
}

}  // namespace minima::ops

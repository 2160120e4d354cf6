/// Where the ops of core/ops/layout.hpp move elements. Moving asks for a type's width alone, so u8 to u64
/// stand for all of them.
#pragma once

#include "core/each.hpp"
#include "core/ops/reduce.hpp"

namespace minima::ops {

/// packed[k] = spread[place of k], or the other way round.
enum class Direction { gather, scatter };

/// Element [i, j, …] of packed, which has these sizes, lies at offset + i·steps[0] + … in spread.
template <class Bits>
struct Move {
  Direction direction;
  int rank;
  i64 sizes[Shape::kMaxRank], steps[Shape::kMaxRank];
  i64 offset;
  Bits *packed, *spread;

  MINIMA_HD void operator()(i64 k) const {
    i64 at = offset, rest = k;
    for (int axis = rank - 1; axis >= 0; --axis) {
      at += rest % sizes[axis] * steps[axis];
      rest /= sizes[axis];
    }
    if (direction == Direction::gather)
      packed[k] = spread[at];
    else
      spread[at] = packed[k];
  }
};

/// The place that an id names among n. One that is wrong has been refused, or will be (core/cuda/wrong_value.hpp).
MINIMA_HD i64 place(i64 id, i64 n) { return id >= 0 && id < n ? id : 0; }

/// y[o][i] = x[o][ids[i]]; k counts the elements of y [outer, m, inner].
template <class Bits>
struct SelectRows {
  i64 n, m, inner;
  const Bits* x;
  const i64* ids;
  Bits* y;

  MINIMA_HD void operator()(i64 k) const { y[k] = *source(k); }

  static constexpr i64 kPack = 16 / sizeof(Bits);
  MINIMA_HD bool in_packs() const {
    return inner % kPack == 0 && Pack<Bits, kPack>::fits(x) && Pack<Bits, kPack>::fits(y);
  }
  MINIMA_HD void pack(i64 k) const { Pack<Bits, kPack>::load(source(k)).store(y + k); }

 private:
  MINIMA_HD const Bits* source(i64 k) const {
    const i64 row = k / inner;
    return x + (row / m * n + place(ids[row % m], n)) * inner + k % inner;
  }
};

/// dx[o][ids[i]] += dy[o][i], one i after another; k counts the columns [outer, inner], which share nothing.
template <class T>
struct AddRows {
  i64 n, m, inner;
  const T* dy;
  const i64* ids;
  T* dx;

  MINIMA_HD void operator()(i64 k) const {
    const i64 o = k / inner, j = k % inner;
    for (i64 i = 0; i < m; ++i)
      dx[(o * n + place(ids[i], n)) * inner + j] += dy[(o * m + i) * inner + j];
  }
};

/// A tensor of `places`' shape beside one of `table`'s: element k of the first belongs to the
/// element of the second that it names along the dimension.
struct Lookup {
  Around places, table;
  MINIMA_HD i64 element(i64 k, const i64* ids) const {
    return (k / (places.n * places.inner) * table.n + place(ids[k], table.n)) * table.inner +
           k % table.inner;
  }
};

template <class Bits>
struct LookUp {
  Lookup lookup;
  const Bits* x;
  const i64* ids;
  Bits* y;

  MINIMA_HD void operator()(i64 k) const { y[k] = x[lookup.element(k, ids)]; }
};

/// y[place of k] += src[k] for one line of places, one k after another: equal ids make their order matter.
template <class T>
struct AddUp {
  Lookup lookup;
  const T* src;
  const i64* ids;
  T* y;

  MINIMA_HD void operator()(i64 line) const {
    const auto& [outer, n, inner] = lookup.places;
    for (i64 i = 0; i < n; ++i) {
      const i64 k = (line / inner * n + i) * inner + line % inner;
      y[lookup.element(k, ids)] += src[k];
    }
  }
};

}  // namespace minima::ops

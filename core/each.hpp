/// Loops over elements and over rows, on any device. What is done to one of them is a functor: the
/// maths of an op, written once for every backend.
///
///     each(device, n, f, work)              f(i) for 0 ≤ i < n, each about `work` operations
///     each_row(device, rows, width, f)      f(team, row), for rows of about `width` elements
///
/// A *team* does the work of one row: `Alone` is a thread of the CPU, whose loops the compiler
/// vectorizes; on a GPU it is a warp or a block (core/cuda/each.hpp). It has
///
///     team.each(n, f)                       f(i) for 0 ≤ i < n, shared among the team; a thread that
///                                           asks for i again later is the same one
///     team.owns(i)                          whether this thread is the one that `each` gives i
///     team.fold(n, start, merge, f)         the f(i) merged, in an order that n determines
///     team.leads()                          whether this thread is the one to store what all know
///
///     team.held(n, row)                     what is row[i] at i; on a GPU read into registers
///     team.blank(n, row)                    the same, not read: to be written to
///     team.store(n, held)                   writes it where it came from
///
/// Rows that are held are indexed by what `each` and `fold` call f with, an `auto i`. On a GPU they are in registers where
/// the functor offers
///
///     f.held()                              the length of its rows
///     F::kHolders                           how many threads are to hold one: 32 or 256; 0: they lie in memory
///
/// Functors are named types of plain pointers and numbers: they are handed to a GPU by value. For each
/// of them core/ops/rows.cu, elements.cu or matmul.cu says that the loop is to be written out.
///
/// Where the bytes moved decide, a functor of `each` also offers
///
///     F::kPack                              how many elements it moves at once
///     f.in_packs()                          whether they lie so that it can
///     f.pack(i)                             f(i) … f(i + kPack − 1), for i a multiple of kPack
///
/// which a GPU's thread then takes; a CPU's loop is vectorized anyway.
#pragma once

#include <concepts>

#include "core/cpu/simd.hpp"
#include "core/device.hpp"
#include "core/ops/row.hpp"
#include "core/pack.hpp"

namespace minima {

template <class F>
concept InPacks = requires(const F& f, i64 i) {
  { f.in_packs() } -> std::same_as<bool>;
  f.pack(i);
};

/// Of wider numbers too few fit into registers.
template <class T>
inline constexpr bool kHeld = sizeof(T) <= 4;

template <class F>
concept HoldsRows = requires(const F& f) {
  { f.held() } -> std::same_as<i64>;
  requires(F::kHolders != 0);
};

template <class F>
void each(Cpu, i64 n, const F& f, i64 work = 1) {
  parallel_chunks(n, std::max<i64>(1, (1 << 14) / std::max<i64>(work, 1)), [&](i64 begin, i64 end) {
    const F local = f;  // whose members no store can change
    for (i64 i = begin; i < end; ++i) local(i);
  });
}

template <class F>
void each_row(Cpu, i64 rows, i64 width, const F& f) {
  parallel_chunks(rows, std::max<i64>(1, (1 << 13) / std::max<i64>(width, 1)),
                  [&](i64 begin, i64 end) {
                    vectorize([&]() MINIMA_INLINE {
                      for (i64 row = begin; row < end; ++row) f(ops::Alone{}, row);
                    });
                  });
}

template <AnyGpu Gpu, class F>
void each(Gpu gpu, i64 n, const F& f, i64 work = 1);
template <AnyGpu Gpu, class F>
void each_row(Gpu gpu, i64 rows, i64 width, const F& f);

}  // namespace minima

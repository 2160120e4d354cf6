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
/// and, for rows that are gone over several times, `team.holding()`: a team whose each and fold call f with an `auto i`,
/// by which `held(n, row)`, read once into a GPU's registers, gives row[i].
///
/// Functors are named types of plain pointers and numbers: they are handed to a GPU by value. For each
/// of them core/ops/rows.cu or elements.cu says that the loop is to be written out.
///
/// Where the bytes moved decide, a functor of `each` also offers
///
///     f.in_fours()                          whether its elements lie so that four are moved at once
///     f.four(i)                             f(i) … f(i + 3), for i a multiple of 4
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
concept InFours = requires(const F& f, i64 i) {
  { f.in_fours() } -> std::same_as<bool>;
  f.four(i);
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

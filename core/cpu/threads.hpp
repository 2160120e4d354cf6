/// Threads. Work is split into tasks by shapes alone; who runs which task never changes a bit.
#pragma once

#include <omp.h>

#include <algorithm>

#include "core/types.hpp"

namespace minima {

/// How many threads compute; as many as the machine has cores (or OMP_NUM_THREADS) until set.
inline int threads() { return omp_get_max_threads(); }
inline void set_threads(int n) { omp_set_num_threads(std::max(n, 1)); }

/// Calls f(i) for each i < tasks, on all threads. `f` must not throw and must not depend on the
/// order.
template <class F>
void parallel_for(i64 tasks, const F& f) {
  if (tasks == 1 || omp_in_parallel()) {
    for (i64 i = 0; i < tasks; ++i) f(i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (i64 i = 0; i < tasks; ++i) f(i);
}

/// Calls f(begin, end) for consecutive chunks of [0, n); a chunk's borders are multiples of
/// `chunk`.
template <class F>
void parallel_chunks(i64 n, i64 chunk, const F& f) {
  parallel_for((n + chunk - 1) / chunk, [&](i64 i) { f(i * chunk, std::min(n, (i + 1) * chunk)); });
}

}  // namespace minima

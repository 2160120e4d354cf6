/// The gradient of an embedding's table on a GPU (core/ops/embedding.hpp).
#pragma once

#include "core/each.hpp"

namespace minima::ops {

/// The place k of each id that is the first of its kind adds up dy of all places with that id, in order:
/// nobody else writes to the row. dw comes in as zeros.
template <class T>
struct SumOfPlaces {
  i64 places, entries, width, padding;
  const i64* ids;
  const T* dy;
  T* dw;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 k) const {
    const i64 id = ids[k];
    if (id == padding || id < 0 || id >= entries) return;
    const int seen = team.fold(k, 0, Larger{},
                               [*this, id](i64 j) MINIMA_INLINE { return ids[j] == id ? 1 : 0; });
    if (seen) return;
    T* const to = dw + id * width;
    for (i64 j = k; j < places; ++j) {
      if (ids[j] != id) continue;
      const T* const from = dy + j * width;
      team.each(width, [=](i64 i) MINIMA_INLINE { to[i] += from[i]; });
    }
  }
};

}  // namespace minima::ops

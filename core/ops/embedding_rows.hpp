/// The gradient of an embedding's table on a GPU (core/ops/embedding.hpp), which does not tell how many ids
/// there are. The places of ids are sorted, then each id adds up its own: nobody else writes to its row.
#pragma once

#include "core/each.hpp"

namespace minima::ops {

/// The places of n ids in the order of the ids, equal ids in their own: each lies behind as many as are
/// smaller. What is no row, or has no gradient, comes last, as `entries`.
struct SortPlaces {
  i64 n, entries, padding;
  const i64* ids;
  i64 *sorted, *order;

  MINIMA_HD i64 row(i64 k) const {
    const i64 id = ids[k];
    return id == padding || id < 0 || id > entries ? entries : id;
  }
  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 k) const {
    const i64 own = row(k);
    const i64 smaller = team.fold(n, i64{0}, Plus{}, [*this, own, k](i64 j) MINIMA_INLINE {
      const i64 other = row(j);
      return i64{other < own || (other == own && j < k)};
    });
    if (!team.leads()) return;
    sorted[smaller] = own;
    order[smaller] = k;
  }
};

/// Each row once, ascending, with the first of its sorted places. `rows` comes in filled with `entries`.
struct RowsOfPlaces {
  i64 entries;
  const i64* sorted;
  i64 *rows, *first;

  MINIMA_HD bool begins(i64 place) const {
    return sorted[place] < entries && (place == 0 || sorted[place - 1] < sorted[place]);
  }
  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 place) const {
    if (!begins(place)) return;
    const i64 before =
        team.fold(place, i64{0}, Plus{}, [*this](i64 p) MINIMA_INLINE { return i64{begins(p)}; });
    if (!team.leads()) return;
    rows[before] = sorted[place];
    first[before] = place;
  }
};

/// values[u] = Σ dy over the places of row u, in their order; 0 behind the last row. k counts the values.
template <class T>
struct SumOfPlaces {
  i64 places, entries, width;
  const i64 *rows, *first, *sorted, *order;
  const T* dy;
  T* values;

  MINIMA_HD void operator()(i64 k) const {
    const i64 u = k / width, row = rows[u];
    T sum = 0;
    if (row < entries)
      for (i64 p = first[u]; p < places && sorted[p] == row; ++p)
        sum += dy[order[p] * width + k % width];
    values[k] = sum;
  }
};

/// dense[ids[r]] += values[r]. An id is there once; one that is no row is passed over.
template <class T>
struct AddRow {
  i64 entries, width;
  const i64* ids;
  const T* values;
  T* dense;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 r) const {
    if (ids[r] < 0 || ids[r] >= entries) return;
    T* const to = dense + ids[r] * width;
    team.each(width, [to, from = values + r * width](i64 i) MINIMA_INLINE { to[i] += from[i]; });
  }
};

}  // namespace minima::ops

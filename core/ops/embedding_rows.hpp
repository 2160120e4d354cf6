/// The gradient of an embedding's table on a GPU (core/ops/embedding.hpp), which does not tell how many ids
/// there are. The places of ids are sorted, then each id adds up its own: nobody else writes to its row.
#pragma once

#include "core/each.hpp"
#include "core/search.hpp"

namespace minima::ops {

/// A tile of ids is sorted by counting, which is quadratic; of other tiles a binary search tells as much.
inline constexpr i64 kSortTile = 1024;

/// The places of n ids, tile by tile, in the order of the ids, equal ids in their own: each lies behind as many as are
/// smaller. What is no row, or has no gradient, comes last, as `entries`.
struct SortTiles {
  i64 n, entries, padding;
  const i64* ids;
  i64 *sorted, *order;

  MINIMA_HD i64 row(i64 k) const {
    const i64 id = ids[k];
    return id == padding || id < 0 || id > entries ? entries : id;
  }
  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 k) const {
    const i64 tile = k / kSortTile * kSortTile, own = row(k);
    const i64 length = n - tile < kSortTile ? n - tile : kSortTile;
    const i64 smaller =
        team.fold(length, i64{0}, Plus{}, [*this, tile, own, k](i64 j) MINIMA_INLINE {
          const i64 other = row(tile + j);
          return i64{other < own || (other == own && tile + j < k)};
        });
    if (!team.leads()) return;
    sorted[tile + smaller] = own;
    order[tile + smaller] = k;
  }
};

/// The sorted tiles merged. Equal ids of an earlier tile come first.
struct MergeTiles {
  i64 n;
  const i64 *sorted_tiles, *order_in_tiles;
  i64 *sorted, *order;

  MINIMA_HD void operator()(i64 k) const {
    const i64 own = sorted_tiles[k];
    i64 place = k % kSortTile;
    for (i64 tile = 0; tile < n; tile += kSortTile) {
      if (tile == k / kSortTile * kSortTile) continue;
      const i64 length = n - tile < kSortTile ? n - tile : kSortTile;
      place += count_below(sorted_tiles + tile, length, tile < k ? own + 1 : own);
    }
    sorted[place] = own;
    order[place] = order_in_tiles[k];
  }
};

MINIMA_HD bool begins_row(i64 entries, const i64* sorted, i64 place) {
  return sorted[place] < entries && (place == 0 || sorted[place - 1] < sorted[place]);
}

/// How many rows begin in each tile of sorted places.
struct CountRows {
  i64 places, entries;
  const i64* sorted;
  i64* begun;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 tile) const {
    const i64 begin = tile * kSortTile;
    const i64 length = places - begin < kSortTile ? places - begin : kSortTile;
    const i64 count = team.fold(length, i64{0}, Plus{}, [*this, begin](i64 k) MINIMA_INLINE {
      return i64{begins_row(entries, sorted, begin + k)};
    });
    if (team.leads()) begun[tile] = count;
  }
};

/// Each row once, ascending, with the first of its sorted places. `rows` comes in filled with `entries`.
struct RowsOfPlaces {
  i64 entries;
  const i64 *sorted, *begun;
  i64 *rows, *first;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 place) const {
    if (!begins_row(entries, sorted, place)) return;
    const i64 tile = place / kSortTile, begin = tile * kSortTile;
    const i64 before = team.fold(tile, i64{0}, Plus{}, [*this](i64 t) MINIMA_INLINE {
      return begun[t];
    }) + team.fold(place - begin, i64{0}, Plus{}, [*this, begin](i64 k) MINIMA_INLINE {
      return i64{begins_row(entries, sorted, begin + k)};
    });
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

  MINIMA_HD void operator()(i64 k) const { add<1>(k); }

  static constexpr i64 kPack = 4;
  MINIMA_HD bool in_packs() const {
    return width % kPack == 0 && Pack<T, kPack>::fits(dy) && Pack<T, kPack>::fits(values);
  }
  MINIMA_HD void pack(i64 k) const { add<kPack>(k); }

 private:
  /// Of N values of a row.
  template <i64 N>
  MINIMA_HD void add(i64 k) const {
    using Values = Pack<T, N>;
    const i64 u = k / width, row = rows[u];
    Values sum{};
    constexpr i64 kAtOnce = 4;  // loads under way
    for (i64 p = row < entries ? first[u] : places; p < places; p += kAtOnce) {
      Values next[kAtOnce] = {};
      bool more = false;
      for (i64 i = 0; i < kAtOnce; ++i) {
        more = p + i < places && sorted[p + i] == row;
        if (more) next[i] = Values::load(dy + order[p + i] * width + k % width);
      }
      for (i64 i = 0; i < kAtOnce; ++i)
        for (i64 e = 0; e < N; ++e) sum.x[e] += next[i].x[e];
      if (!more) break;
    }
    sum.store(values + k);
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

#include "core/ops/embedding.hpp"

#include <algorithm>

#include "core/cpu/simd.hpp"
#include "core/cuda/note_outside.hpp"
#include "core/on_device.hpp"
#include "core/ops/embedding_rows.hpp"
#include "core/ops/layout.hpp"
#include "core/ops/together.hpp"

namespace minima::ops {
namespace {

/// values[u] = Σ dy[k] over the places k with ids[k] = unique id u, in rising order of k.
/// `places` holds them id after id; those of u begin at first[u].
template <class T>
void sum_rows(i64 width, const std::vector<i64>& places, const std::vector<i64>& first, const T* dy,
              T* values) {
  const i64 unique = static_cast<i64>(first.size()) - 1;
  parallel_chunks(unique, std::max<i64>(1, (1 << 13) / std::max<i64>(width, 1)),
                  [&](i64 begin, i64 end) {
                    vectorize([&]() MINIMA_INLINE {
                      for (i64 u = begin; u < end; ++u) {
                        T* sum = values + u * width;
                        const i64* place = places.data() + first[static_cast<std::size_t>(u)];
                        const i64* last = places.data() + first[static_cast<std::size_t>(u + 1)];
                        std::copy_n(dy + *place * width, width, sum);
                        for (++place; place != last; ++place) {
                          const T* row = dy + *place * width;
                          for (i64 j = 0; j < width; ++j) sum[j] += row[j];
                        }
                      }
                    });
                  });
}

Gradient backward(Cpu, const Tensor& dy, const Tensor& ids, std::optional<i64> padding_idx, i64) {
  const auto id = ids.span<i64>();
  const i64 width = dy.size(-1);
  std::vector<i64> places;
  places.reserve(id.size());
  for (i64 k = 0; k < ids.size(); ++k)
    if (id[static_cast<std::size_t>(k)] != padding_idx) places.push_back(k);
  std::ranges::sort(places, {},
                    [&](i64 k) { return std::pair(id[static_cast<std::size_t>(k)], k); });

  std::vector<i64> unique, first;
  for (std::size_t p = 0; p < places.size(); ++p) {
    const i64 here = id[static_cast<std::size_t>(places[p])];
    if (!unique.empty() && unique.back() == here) continue;
    unique.push_back(here);
    first.push_back(static_cast<i64>(p));
  }
  first.push_back(static_cast<i64>(places.size()));

  Tensor values = Tensor::empty({static_cast<i64>(unique.size()), width}, dy.dtype(), dy.device());
  visit_real("embedding", dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    sum_rows(width, places, first, dy.data<T>(), values.data<T>());
  });
  return Gradient::rows(Tensor::from(unique), std::move(values));
}
template <AnyGpu Gpu>
Gradient backward(Gpu gpu, const Tensor& dy, const Tensor& ids, std::optional<i64> padding_idx,
                  i64 entries) {
  const i64 places = ids.size(), width = dy.size(-1), most = std::min(places, entries);
  const auto numbers = [&](i64 n) { return Tensor::empty({n}, DType::i64, dy.device()); };
  const i64 tiles = ceil_div(places, kSortTile);
  Tensor sorted = numbers(places), order = numbers(places), first = numbers(most);
  Tensor sorted_tiles = numbers(places), order_in_tiles = numbers(places), begun = numbers(tiles);
  Tensor rows = Tensor::full({most}, static_cast<double>(entries), DType::i64, dy.device());
  Tensor values = Tensor::empty({most, width}, dy.dtype(), dy.device());
  each_row(gpu, places, std::min(places, kSortTile),
           SortTiles{places, entries, padding_idx.value_or(kNone), ids.data<i64>(),
                     sorted_tiles.data<i64>(), order_in_tiles.data<i64>()});
  each(gpu, places,
       MergeTiles{places, sorted_tiles.data<i64>(), order_in_tiles.data<i64>(), sorted.data<i64>(),
                  order.data<i64>()});
  each_row(gpu, tiles, std::min(places, kSortTile),
           CountRows{places, entries, sorted.data<i64>(), begun.data<i64>()});
  each_row(gpu, places, std::min(places, kSortTile),
           RowsOfPlaces{entries, sorted.data<i64>(), begun.data<i64>(), rows.data<i64>(),
                        first.data<i64>()});
  visit_real("embedding", dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    each(gpu, most * width,
         SumOfPlaces<T>{places, entries, width, rows.data<i64>(), first.data<i64>(),
                        sorted.data<i64>(), order.data<i64>(), dy.data<T>(), values.data<T>()});
  });
  return Gradient::rows(std::move(rows), std::move(values), entries);
}

void check_range(Cpu, const Tensor& w, const Tensor& ids) {
  const auto id = ids.span<i64>();
  const auto bad = std::ranges::find_if(id, [&](i64 k) { return k < 0 || k >= w.size(0); });
  if (bad != id.end())
    fail("embedding: id {} at place {} is outside of 0 … {}, the rows of the table", *bad,
         bad - id.begin(), w.size(0) - 1);
}
template <AnyGpu Gpu>
void check_range(Gpu gpu, const Tensor& w, const Tensor& ids) {
  check(w.size(0) > 0 || ids.size() == 0, "embedding: the table is {}, without entries", w.shape());
  note_outside(gpu, "embedding: id", ids.size(), ids.data<i64>(), w.size(0));
}

}  // namespace

Tensor embedding(const Tensor& w, const Tensor& ids) {
  check(w.rank() == 2, "embedding: the table is {}; it must be [entries, features]", w.shape());
  check_i64("embedding", "ids", ids);
  check_together("embedding", w, ids);
  on_device(w.device(), [&](auto device) { check_range(device, w, ids); });
  std::vector<i64> sizes(ids.shape().begin(), ids.shape().end());
  sizes.push_back(w.size(1));
  return index_select_unchecked(w, 0, ids.reshape({-1})).reshape(Shape(sizes));
}

Gradient embedding_backward(const Tensor& dy, const Tensor& ids, std::optional<i64> padding_idx,
                            i64 entries) {
  check(dy.rank() >= 1 && dy.shape().rows() == ids.size(),
        "embedding: the gradient is {}, ids {}; it must have a row for each", dy.shape(),
        ids.shape());
  check_together("embedding", dy, ids);
  return on_device(dy.device(),
                   [&](auto device) { return backward(device, dy, ids, padding_idx, entries); });
}

}  // namespace minima::ops

/// Opening and closing for any storage: what the loop of optim/loop.cpp and the kernels of
/// optim/engine.cu stand on.
#pragma once

#include <algorithm>

#include "optim/storage/bf16.hpp"
#include "optim/storage/block8.hpp"
#include "optim/storage/fp32.hpp"
#include "optim/view.hpp"

namespace minima {

template <class F>
MINIMA_HD decltype(auto) with_storage(Storage storage, const F& f) {
  switch (storage) {
    case Storage::block8:
      return f(Block8Storage{});
    case Storage::bf16:
      return f(Bf16Storage{});
    default:
      return f(Fp32Storage{});
  }
}

MINIMA_HD float* open(const SlotView& slot, i64 begin, i64 n, float* scratch) {
  return with_storage(slot.storage, [&](auto storage) MINIMA_INLINE {
    return storage.open(slot, begin, n, scratch);
  });
}
MINIMA_HD void close(const SlotView& slot, i64 begin, i64 n, const float* values) {
  with_storage(slot.storage,
               [&](auto storage) MINIMA_INLINE { storage.close(slot, begin, n, values); });
}

/// Rows that are not given are filled in as zeros, in scratch: no dense gradient is made.
MINIMA_HD const float* open(const GradientView& gradient, i64 begin, i64 n, float* scratch) {
  if (!gradient.ids) return open(gradient.values, begin, n, scratch);
  for (i64 i = 0; i < n; ++i) scratch[i] = 0;
  const i64 width = gradient.width;
  const i64* row = gradient.ids + count_below(gradient.ids, gradient.count, begin / width);
  for (; row < gradient.ids + gradient.count && *row * width < begin + n; ++row) {
    const i64 from = std::max(begin, *row * width), to = std::min(begin + n, (*row + 1) * width);
    const i64 source = (row - gradient.ids) * width + from - *row * width;
    float* target = scratch + (from - begin);
    const float* values = open(gradient.values, source, to - from, target);
    for (i64 i = 0; i < to - from; ++i) target[i] = values[i];
  }
  return scratch;
}

/// A stretch of the gradient; a rule sees scale · values[i].
struct ScaledStretch {
  const float* values;
  float scale;
};

/// x cut to ± limit, as in torch.nn.utils.clip_grad_value_: NaN stays NaN.
MINIMA_HD float cut(float x, float limit) { return x > limit ? limit : x < -limit ? -limit : x; }

/// Where entries are cut to ± clip_value, they are scaled and cut here, in scratch: a cut within the step's loop would keep GCC from
/// vectorizing it.
MINIMA_HD ScaledStretch open_gradient(const StepView& view, i64 begin, i64 n, float* scratch) {
  const float* g = open(view.gradient, begin, n, scratch);
  const float scale = view.gradient_scale, limit = view.clip_value;
  if (limit == 0) return {g, scale};
  for (i64 i = 0; i < n; ++i) scratch[i] = cut(scale * g[i], limit);
  return {scratch, 1};
}

}  // namespace minima

/// What a step sees of one parameter: its value, gradient and slots as plain pointers, and the one
/// loop that opens a stretch of them all, runs a formula over it, and closes it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "core/cpu/simd.hpp"
#include "core/shape.hpp"
#include "optim/probe.hpp"
#include "optim/storage/bf16.hpp"
#include "optim/storage/block8.hpp"
#include "optim/storage/fp32.hpp"

namespace minima {

/// A gradient: dense, or the rows `ids` (ascending) of a table whose other rows are zero.
struct GradientView {
  SlotView values;  ///< fp32 or bf16
  const i64* ids = nullptr;
  i64 count = 0, width = 0;  ///< rows given, and values in each
};

/// One parameter in one step.
struct StepView {
  std::string_view name;
  Shape shape;
  SlotView value;  ///< fp32 or bf16
  GradientView gradient;
  std::array<SlotView, 6> slots;  ///< in the order of the rule's slots()
  int slot_count = 0;
  i64 t = 1;
  float clip_value = 0;      ///< the gradient's entries are cut to ± this; 0: they are not
  float gradient_scale = 1;  ///< multiplies the gradient: unscaling and clipping in one
  /// Where a gradient's entry is not finite, its weight stays and its state becomes zero.
  bool guard = false;
  /// Only the rows of a gradient of rows are moved, as in torch.optim.SparseAdam.
  bool lazy_rows = false;
  Probe* probe = nullptr;  ///< null unless somebody looks on

  bool skips_rows() const { return lazy_rows && gradient.ids; }
  /// Whether the row of the table that element `at` lies in is changed.
  bool moves(i64 at) const {
    return !skips_rows() ||
           std::binary_search(gradient.ids, gradient.ids + gradient.count, at / gradient.width);
  }

  /// The slot of that name, or null.
  const SlotView* find(std::string_view slot) const {
    for (int k = 0; k < slot_count; ++k)
      if (slots[static_cast<std::size_t>(k)].name == slot)
        return &slots[static_cast<std::size_t>(k)];
    return nullptr;
  }
  /// Its floats, where it is never stored in fewer bits; null without such a slot.
  float* floats(std::string_view slot) const {
    const SlotView* found = find(slot);
    return found ? static_cast<float*>(found->values) : nullptr;
  }
  /// Tells a probe of a number that is one for the whole parameter, with its formula.
  void note(const std::string& letter, const char* formula, double value) const {
    if (probe) probe->notes.push_back({letter, formula, value});
  }
};

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
MINIMA_HD void prefetch(const SlotView& slot, i64 begin, i64 n) {
  with_storage(slot.storage, [&](auto storage) MINIMA_INLINE { storage.prefetch(slot, begin, n); });
}

/// Rows that are not given are filled in as zeros, in scratch: no dense gradient is made.
MINIMA_HD const float* open(const GradientView& gradient, i64 begin, i64 n, float* scratch) {
  if (!gradient.ids) return open(gradient.values, begin, n, scratch);
  for (i64 i = 0; i < n; ++i) scratch[i] = 0;
  const i64 width = gradient.width;
  const i64* row = std::lower_bound(gradient.ids, gradient.ids + gradient.count, begin / width);
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

/// Where entries are cut to ± clip_value, as in torch.nn.utils.clip_grad_value_ (NaN stays NaN),
/// they are scaled and cut here, in scratch: a cut within the step's loop would keep GCC from
/// vectorizing it.
MINIMA_HD ScaledStretch open_gradient(const StepView& view, i64 begin, i64 n, float* scratch) {
  const float* g = open(view.gradient, begin, n, scratch);
  const float scale = view.gradient_scale, limit = view.clip_value;
  if (limit == 0) return {g, scale};
  for (i64 i = 0; i < n; ++i) {
    const float scaled = scale * g[i];
    scratch[i] = scaled > limit ? limit : scaled < -limit ? -limit : scaled;
  }
  return {scratch, 1};
}

/// Whether a gradient's entry may be used: always, or, where `guard` is on, if it is finite.
struct Guard {
  MINIMA_HD explicit Guard(bool on) : limit(on ? 0x7f800000u : ~0u) {}
  MINIMA_HD bool passes(float g) const { return (std::bit_cast<u32>(g) & 0x7fffffffu) < limit; }
  u32 limit;
};

/// ok ? a : b by bits. From a plain choice GCC makes masked stores, which are slow in AVX2.
MINIMA_HD float select(bool ok, float a, float b) {
  const u32 mask = 0u - static_cast<u32>(ok);
  return std::bit_cast<float>((std::bit_cast<u32>(a) & mask) | (std::bit_cast<u32>(b) & ~mask));
}

/// How many values of `slots` are opened at a time: a block where one is in block8.
template <std::size_t K>
MINIMA_HD i64 stretch_of(const std::array<SlotView, K>& slots) {
  i64 stretch = kLongestStretch;
  for (const SlotView& slot : slots)
    if (slot.storage == Storage::block8) stretch = slot.block_size;
  return stretch;
}

/// Changes the elements begin … end-1 of value and slots, on the calling thread, on the vector
/// unit. `formula.row(i)` gives what changes row i of a matrix with `width` columns: at(j, p, g,
/// slot values…), all but g by reference. begin is a multiple of the stretch.
template <class Formula, std::size_t... K>
void update(const StepView& view, const std::array<SlotView, sizeof...(K)>& slots, i64 width,
            i64 begin, i64 end, const Formula& formula, std::index_sequence<K...>) {
  vectorize([&]() MINIMA_INLINE {
    // Scratch rows are a little apart from a power of two, so that they do not meet in the cache.
    constexpr i64 kLongestPitch = kLongestStretch + 80;
    alignas(64) float scratch[(2 + sizeof...(K)) * kLongestPitch];
    const i64 stretch = stretch_of(slots), pitch = (stretch + 15) / 16 * 16 + 80;
    const Guard guard(view.guard);
    for (i64 at = begin; at < end; at += stretch) {
      const i64 n = std::min(stretch, end - at);
      float* p = open(view.value, at, n, scratch);
      const auto [g, scale] = open_gradient(view, at, n, scratch + pitch);
      const std::array<float*, sizeof...(K)> s{
          open(slots[K], at, n, scratch + static_cast<i64>(2 + K) * pitch)...};
      for (i64 done = 0; done < n;) {
        const i64 i = (at + done) / width, j = (at + done) % width;
        const i64 stop = std::min(n, done + width - j);
        if (!view.moves(at + done)) {
          done = stop;
          continue;
        }
        const auto row = formula.row(i);
#pragma GCC ivdep
        for (i64 k = done; k < stop; ++k) {
          const float gradient = scale * g[k], before = p[k];
          float weight = before;
          std::array<float, sizeof...(K)> state{s[K][k]...};
          row(j + (k - done), weight, gradient, state[K]...);
          const bool ok = guard.passes(gradient);
          p[k] = select(ok, weight, before);
          ((s[K][k] = ok ? state[K] : 0.0f), ...);
        }
        done = stop;
      }
      if (stretch < kLongestStretch && at + stretch < end) {
        const i64 next = std::min(stretch, end - at - stretch);
        prefetch(view.value, at + stretch, next);
        if (!view.gradient.ids) prefetch(view.gradient.values, at + stretch, next);
        (prefetch(slots[K], at + stretch, next), ...);
      }
      close(view.value, at, n, p);
      (close(slots[K], at, n, s[K]), ...);
    }
  });
}

/// Elements for one task: a multiple of the stretch, chosen by shapes and storages alone.
template <std::size_t K>
i64 task_size(const std::array<SlotView, K>& slots) {
  const i64 stretch = stretch_of(slots);
  return stretch * std::max<i64>(1, 32768 / stretch);
}

}  // namespace minima

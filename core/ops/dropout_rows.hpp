/// The mask of dropout (core/ops/dropout.hpp), for the kernels of the ops that contain it.
#pragma once

#include "core/each.hpp"
#include "core/ops/dropout.hpp"

namespace minima::ops {

/// Decides which elements of one row survive: kept where its random word is at least rate · 2³².
struct DropoutRow {
  u64 key;       ///< the stream's
  u64 position;  ///< in the text
  u64 example;   ///< id
  u64 step;
  u32 threshold;
  float scale;  ///< 1 / (1 − rate)

  MINIMA_HD static u32 threshold_of(double rate) { return static_cast<u32>(rate * 0x1p32); }
  MINIMA_HD static float scale_of(double rate) { return static_cast<float>(1 / (1 - rate)); }

  /// Whether element i is kept.
  MINIMA_HD bool keeps(i64 i) const {
    return Philox::word(static_cast<u64>(i), position, example, step, key) >= threshold;
  }

  /// Whether elements i, i + 16, i + 32 and i + 48 are, for i mod 64 < 16: by one drawing.
  MINIMA_HD void keep_four(i64 i, bool (&kept)[4]) const {
    const auto [x0, x1, x2, x3] = Philox::block(
        {static_cast<u64>(i) / 64 * 16 + static_cast<u64>(i) % 16, position, example, step}, key);
    const u64 words[4] = {x0, x1, x2, x3};
    for (int k = 0; k < 4; ++k) kept[k] = static_cast<u32>(words[k]) >= threshold;
  }

  /// out[i] ← keeps(i) ? scale · in[i] : 0, for n elements, 64 at a time.
  template <class T>
  MINIMA_HD void apply(const T* in, T* out, i64 n) const {
    u32 words[64];
    for (i64 begin = 0; begin < n; begin += 64) {
      Philox::words(static_cast<u64>(begin) / 64, position, example, step, key, words);
      const i64 count = n - begin < 64 ? n - begin : 64;
#pragma omp simd  // also where out is in
      for (i64 i = 0; i < count; ++i)
        out[begin + i] = words[i] >= threshold ? in[begin + i] * static_cast<T>(scale) : T{0};
    }
  }
};

/// The mask of the rows of an x of the given shape. `example_id` and
/// `position` [rows] (i64) say what each row is; with a rate of 0 they may be undefined.
class DropoutMask {
 public:
  /// Throws Error when the rate is not in [0, 1), or when there is not one of each for every row.
  DropoutMask(const char* op, const Shape& x, const DropoutSite& site, const Tensor& example_id,
              const Tensor& position);

  /// out ← dropout(in), for the n elements of one row.
  template <class Team, class T>
  MINIMA_HD void apply(const Team& team, i64 row, const T* in, T* out, i64 n) const {
    if (threshold_ == 0) {
      team.each(n, [=](i64 i) MINIMA_INLINE { out[i] = in[i]; });
      return;
    }
    const DropoutRow mask{site_.key,
                          static_cast<u64>(position_[row]),
                          static_cast<u64>(example_[row]),
                          static_cast<u64>(site_.step_now()),
                          threshold_,
                          DropoutRow::scale_of(site_.rate)};
    if constexpr (std::is_same_v<Team, Alone>)
      mask.apply(in, out, n);
    else
      team.each(n, [=](i64 i) MINIMA_INLINE {
        out[i] = mask.keeps(i) ? in[i] * static_cast<T>(mask.scale) : T{0};
      });
  }

 private:
  DropoutSite site_;
  u32 threshold_;
  const i64 *example_ = nullptr, *position_ = nullptr;
};

/// A row of dropout.
template <class T>
struct DropoutRows {
  DropoutMask mask;
  i64 width;
  const T* x;
  T* y;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    mask.apply(team, row, x + row * width, y + row * width, width);
  }
};

}  // namespace minima::ops

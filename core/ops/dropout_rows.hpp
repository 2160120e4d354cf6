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

  /// f(i, keeps(i)) for n elements, 64 at a time.
  template <class F>
  MINIMA_HD void each(i64 n, const F& f) const {
    u32 words[64];
    for (i64 begin = 0; begin < n; begin += 64) {
      Philox::words(static_cast<u64>(begin) / 64, position, example, step, key, words);
      const i64 count = n - begin < 64 ? n - begin : 64;
#pragma omp simd  // rows do not overlap, or are the same one
      for (i64 i = 0; i < count; ++i) f(begin + i, words[i] >= threshold);
    }
  }
  /// out[i] ← keeps(i) ? scale · in[i] : 0.
  template <class T>
  MINIMA_HD void apply(const T* in, T* out, i64 n) const {
    each(n, [=, scale = static_cast<T>(scale)](i64 i, bool kept)
                MINIMA_INLINE { out[i] = kept ? in[i] * scale : T{0}; });
  }
};

/// The mask of the rows of an x of the given shape. `example_id` and
/// `position` [rows] (i64) say what each row is; with a rate of 0 they may be undefined.
class DropoutMask {
 public:
  /// Throws Error when the rate is not in [0, 1), or when there is not one of each for every row.
  DropoutMask(const char* op, const Shape& x, const DropoutSite& site, const Tensor& example_id,
              const Tensor& position);

  /// What a kept element is multiplied by.
  template <class T>
  MINIMA_HD T scale() const {
    return static_cast<T>(scale_);
  }

  /// f(i, whether element i is kept), for the n elements of one row.
  template <class Team, class F>
  MINIMA_HD void each(const Team& team, i64 row, i64 n, const F& f) const {
    if (threshold_ == 0) {
      team.each(n, [&](auto i) MINIMA_INLINE { f(i, true); });
      return;
    }
    const DropoutRow mask{site_.key,
                          static_cast<u64>(position_[row]),
                          static_cast<u64>(example_[row]),
                          static_cast<u64>(site_.step_now()),
                          threshold_,
                          scale_};
    if constexpr (std::is_same_v<Team, Alone>)
      mask.each(n, f);
    else if constexpr (requires { Team::kFours; })
      team.each_kept(
          n, [&](i64 i, bool(&kept)[4]) MINIMA_INLINE { mask.keep_four(i, kept); }, f);
    else
      team.each(n, [&](i64 i) MINIMA_INLINE { f(i, mask.keeps(i)); });
  }

 private:
  DropoutSite site_;
  u32 threshold_;
  float scale_;
  const i64 *example_ = nullptr, *position_ = nullptr;
};

/// A row of dropout.
template <class T>
struct DropoutRows {
  static constexpr unsigned kHolders = kHeld<T> ? 32 : 0;
  DropoutMask mask;
  i64 width;
  const T* x;
  T* y;

  i64 held() const { return width; }
  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const auto in = team.held(width, x + row * width);
    auto out = team.blank(width, y + row * width);
    mask.each(team, row, width,
              [&, scale = mask.template scale<T>()](auto i, bool kept)
                  MINIMA_INLINE { out[i] = kept ? in[i] * scale : T{0}; });
    team.store(width, out);
  }
};

}  // namespace minima::ops

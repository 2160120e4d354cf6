/// Dropout by counter (Srivastava et al. 2014): an element is zeroed with probability `rate`, else
/// divided by 1 − rate.
///
/// The mask is a function of (seed and stream name, optimizer step, example id, position in the
/// text, feature), never of where a token landed in a batch: packing, padding, accumulation,
/// threads and recomputation all see the same mask, which is never stored. Backward is the same
/// function applied to the gradient.
#pragma once

#include "core/rng.hpp"
#include "core/tensor.hpp"

namespace minima::ops {

/// Decides which elements of one row survive: kept where its random word is at least rate · 2³².
struct DropoutRow {
  u64 key;       ///< the stream's
  u64 position;  ///< in the text
  u64 example;   ///< id
  u64 step;
  u32 threshold;
  float scale;  ///< 1 / (1 − rate)

  static u32 threshold_of(double rate) { return static_cast<u32>(rate * 0x1p32); }

  /// row[i] ← kept ? scale · row[i] : 0, for n elements; `words` is scratch for 64.
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

/// Where and when: the same for a whole layer call.
struct DropoutSite {
  double rate = 0;  ///< 0 ≤ rate < 1
  u64 key = 0;      ///< stream_key(seed, layer name)
  i64 step = 0;     ///< optimizer step
};

/// The mask of the rows of an x of the given shape, for the kernels of the ops that contain dropout. `example_id` and
/// `position` [rows] (i64) say what each row is; with a rate of 0 they may be undefined.
class DropoutMask {
 public:
  /// Throws Error when the rate is not in [0, 1), or when there is not one of each for every row.
  DropoutMask(const char* op, const Shape& x, const DropoutSite& site, const Tensor& example_id,
              const Tensor& position);

  /// out ← dropout(in), for the n elements of one row.
  template <class T>
  MINIMA_HD void apply(i64 row, const T* in, T* out, i64 n) const {
    if (threshold_ == 0) {
      for (i64 i = 0; i < n; ++i) out[i] = in[i];
      return;
    }
    const DropoutRow mask{site_.key,
                          static_cast<u64>(position_[row]),
                          static_cast<u64>(example_[row]),
                          static_cast<u64>(site_.step),
                          threshold_,
                          static_cast<float>(1 / (1 - site_.rate))};
    mask.apply(in, out, n);
  }

 private:
  DropoutSite site_;
  u32 threshold_;
  const i64 *example_ = nullptr, *position_ = nullptr;
};

/// x [rows, …] with `example_id` and `position` [rows] (i64) saying what each row is.
/// Throws Error when the rate is not in [0, 1) or the counts differ.
Tensor dropout(const Tensor& x, const DropoutSite& site, const Tensor& example_id,
               const Tensor& position);

}  // namespace minima::ops

/// Four neighbouring values at a time: how the kernels of a step go between memory and registers. One access of 16 bytes
/// keeps four times as much under way as one of 4, and how a value is stored is asked once for four.
///
/// A thread first loads all that it needs, as it lies in memory (`Raw`), then decodes it: no load waits for another.
/// Where values do not lie so that four can be taken at once, and at the end of a stretch, N is 1.
#pragma once

#include "core/code_map.hpp"
#include "core/cuda/block.hpp"
#include "core/pack.hpp"
#include "optim/engine/loop.hpp"

namespace minima::MINIMA_BACKEND {

/// A pointer that is read from shared memory: the compiler does not see that it leads to the device's.
template <class T>
__device__ T* in_device_memory(T* pointer) {
#if defined(__CUDA_ARCH__)
  __builtin_assume(__isGlobal(pointer));
#endif
  return pointer;
}

/// Of numbers that are not negative; in 32 bits where they fit: a GPU does not divide in 64.
__device__ inline i64 quotient(i64 a, i64 b) {
  if ((a | b) >> 32 == 0) return static_cast<u32>(a) / static_cast<u32>(b);
  return a / b;
}

/// What a kernel needs to know of a slot for each value.
struct Place {
  void* values;
  float* absmax;
  Storage storage;

  template <class T>
  __device__ T* at() const {
    return in_device_memory(static_cast<T*>(values));
  }
  __device__ float* scales() const { return in_device_memory(absmax); }
  /// The same where it is known how values are stored, so that it is not asked.
  __device__ Place as(Storage known) const { return {values, absmax, known}; }

  /// Of the values from `begin` on, which begin a block of block8.
  __device__ static Place of(const SlotView& slot, i64 begin) {
    const i64 block = slot.storage == Storage::block8 ? quotient(begin, slot.block_size) : 0;
    return {static_cast<char*>(slot.values) + begin * bytes_each(slot.storage), slot.absmax + block,
            slot.storage};
  }
};

/// N values as they lie in memory, and the scale of their block.
template <int N>
struct Raw {
  u32 words[N] = {};
  float absmax = 0;
};

/// N numbers of T by one access: of words, not of their parts.
template <class T, int N>
__device__ void load_words(const T* from, u32* words) {
  if constexpr (N * sizeof(T) < 4) {
    words[0] = *from;
  } else {
    constexpr int kWords = N * sizeof(T) / 4;
    const auto found = Pack<u32, kWords>::load(reinterpret_cast<const u32*>(from));
    for (int w = 0; w < kWords; ++w) words[w] = found.x[w];
  }
}
template <class T, int N, class F>
__device__ void store_words(T* to, const F& number) {
  if constexpr (N * sizeof(T) < 4) {
    *to = static_cast<T>(number(0));
  } else {
    constexpr int kInWord = 4 / sizeof(T);
    Pack<u32, N / kInWord> words{};
    for (int e = 0; e < N; ++e)
      words.x[e / kInWord] |= u32{number(e)} << 8 * sizeof(T) * (e % kInWord);
    words.store(reinterpret_cast<u32*>(to));
  }
}

template <int N>
__device__ Raw<N> load(const Place& from, i64 at, i64 block = 0) {
  Raw<N> raw;
  if (from.storage == Storage::fp32) {
    load_words<u32, N>(from.at<u32>() + at, raw.words);
  } else if (from.storage == Storage::bf16) {
    load_words<u16, N>(from.at<u16>() + at, raw.words);
  } else {
    load_words<u8, N>(from.at<u8>() + at, raw.words);
    raw.absmax = from.scales()[block];
  }
  return raw;
}

/// `numbers`: those of the codes.
template <int N, class Numbers>
__device__ void decode(const Raw<N>& raw, Storage storage, const Numbers& numbers,
                       float (&values)[N]) {
  if (storage == Storage::fp32) {
    for (int e = 0; e < N; ++e) values[e] = std::bit_cast<float>(raw.words[e]);
  } else if (storage == Storage::bf16) {
    for (int e = 0; e < N; ++e)
      values[e] =
          std::bit_cast<float>(e % 2 ? raw.words[e / 2] & 0xffff0000u : raw.words[e / 2] << 16);
  } else {
    for (int e = 0; e < N; ++e) values[e] = numbers[raw.words[0] >> 8 * e & 255u] * raw.absmax;
  }
}

/// Not in block8.
template <int N>
__device__ void decode(const Raw<N>& raw, Storage storage, float (&values)[N]) {
  decode<N, const float*>(raw, storage, nullptr, values);
}

/// In fp32 or bf16.
template <int N>
__device__ void store(const Place& to, i64 at, const float (&values)[N]) {
  if (to.storage == Storage::fp32)
    store_words<u32, N>(to.at<u32>() + at, [&](int e) { return std::bit_cast<u32>(values[e]); });
  else
    store_words<u16, N>(to.at<u16>() + at, [&](int e) { return bf16(values[e]).bits; });
}

template <int N>
__device__ u32 largest_of(const float (&values)[N]) {
  u32 most = 0;
  for (float value : values) {
    const u32 each = block8::magnitude(value);
    most = most < each ? each : most;
  }
  return most;
}

/// In block8: the codes of values in a block whose largest magnitude this is.
template <int N>
__device__ void store_codes(const Place& to, i64 at, const CompactCodes& map,
                            const float (&values)[N], u32 largest) {
  const float divisor = block8::divisor(std::bit_cast<float>(largest)),
              inverse = about_inverse(divisor) * CompactCodes::kScale;
  const u32 codes = map.codes_of_quotients(values, divisor, inverse);
  store_words<u8, N>(to.at<u8>() + at, [=](int e) { return codes >> 8 * e & 255u; });
}

/// Whether four values from every fourth on can be taken at once.
__device__ inline bool takes_quads(const SlotView& slot) {
  const auto bytes = static_cast<std::uintptr_t>(4 * bytes_each(slot.storage));
  return reinterpret_cast<std::uintptr_t>(slot.values) % bytes == 0 &&
         (slot.storage != Storage::block8 || slot.block_size % 4 == 0);
}

/// What is read of a view for each element, in shared memory: behind a store a view's own fields are read anew, and
/// registers are too few.
template <int kSlots>
struct Columns {
  /// N elements before they are decoded.
  template <int N>
  struct Loaded {
    Raw<N> value, gradient, slots[kSlots + 1];
    bool given;  ///< whether the gradient has their row
  };

  /// Of the elements from `begin` on, which begin a block of block8.
  __device__ void fill(const StepView& view, i64 begin) {
    const GradientView& g = view.gradient;
    value = Place::of(view.value, begin), gradient = Place::of(g.values, g.ids ? 0 : begin);
    ids = g.ids, count = g.count, row_width = g.width;
    first = begin, width = view.matrix.columns, lazy = view.skips_rows();
    scale = view.gradient_scale, limit = view.clip_value;
    end_of_weights = std::bit_cast<float>(weight_limit(view.value.storage));
    plain = !ids && limit == 0 && view.value.storage == Storage::fp32 &&
            g.values.storage == Storage::fp32;
    // A quad lies in one of the rows given.
    quads = begin % 4 == 0 && takes_quads(view.value) && takes_quads(g.values) &&
            (!ids || row_width % 4 == 0);
    for (int s = 0; s < kSlots; ++s) {
      slots[s] = Place::of(view.slots[s], begin);
      quads = quads && takes_quads(view.slots[s]);
      plain = plain && slots[s].storage == Storage::block8;
    }
    plain = plain && quads;
  }

  /// Elements k and on, which lie in the given block of block8; both counted from the first.
  template <int N>
  __device__ Loaded<N> load(i64 k, i64 block) const {
    Loaded<N> x;
    i64 place = k;
    x.given = true;
    if (ids) {
      const i64* const rows = in_device_memory(ids);
      const i64 row = quotient(first + k, row_width), found = count_below(rows, count, row);
      x.given = found < count && rows[found] == row;
      place = first + k + (found - row) * row_width;
    }
    x.value = MINIMA_BACKEND::load<N>(value, k);
    if (x.given) x.gradient = MINIMA_BACKEND::load<N>(gradient, place);
    for (int s = 0; s < kSlots; ++s) x.slots[s] = MINIMA_BACKEND::load<N>(slots[s], k, block);
    return x;
  }

  /// The gradient as a rule sees it.
  template <int N>
  __device__ void decode_gradient(const Loaded<N>& x, float (&g)[N]) const {
    decode(x.gradient, gradient.storage, g);
    for (int e = 0; e < N; ++e) g[e] = scale * g[e];
    if (limit != 0)
      for (int e = 0; e < N; ++e) g[e] = cut(g[e], limit);
  }

  Place value, gradient, slots[kSlots + 1];
  const i64* ids;
  i64 count, row_width, first, width;
  float scale, limit;
  float end_of_weights;  ///< the least magnitude that is no finite weight
  bool quads, lazy;
  bool plain;  ///< quads of fp32 with a dense gradient that is not cut, and all slots in block8
};

/// The threads of a block over n elements: f(std::integral_constant<int, N>, k) for each k, k + 1, … k + N − 1.
template <class F>
__device__ void each_quad(u32 n, bool quads, const F& f) {
  const u32 wide = quads ? n / 4 * 4 : 0;
  for (u32 k = 4 * threadIdx.x; k < wide; k += 4 * kThreads) f(std::integral_constant<int, 4>{}, k);
  for (u32 k = wide + threadIdx.x; k < n; k += kThreads) f(std::integral_constant<int, 1>{}, k);
}

}  // namespace minima::MINIMA_BACKEND

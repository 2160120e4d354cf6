/// Counter-based random numbers: Philox 4×32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random
/// numbers: as easy as 1, 2, 3"). A number is a pure function of a key and a counter; nothing is
/// stored and no order of drawing exists, so packing, threads, accumulation and recomputation all
/// see the same numbers.
#pragma once

#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "core/types.hpp"

namespace minima {

struct Philox {
  /// Four 32-bit words, each in a 64-bit lane of its own: so a loop over counters vectorizes.
  struct Block {
    u64 x0, x1, x2, x3;
  };

  /// The 128 random bits at `counter` under `key`: ten rounds. Of each word of the counter the low 32 bits count, so
  /// rows that are known by larger numbers (ids, steps) share theirs with those 2³² below.
  MINIMA_HD static Block block(Block counter, u64 key) {
    auto [x0, x1, x2, x3] = counter;
    u64 k0 = key & kWord, k1 = key >> 32;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const u64 a = product(kFactor0, x0), b = product(kFactor1, x2);
      x0 = (b >> 32) ^ x1 ^ k0;
      x1 = b & kWord;
      x2 = (a >> 32) ^ x3 ^ k1;
      x3 = a & kWord;
      k0 = (k0 + kStep0) & kWord;
      k1 = (k1 + kStep1) & kWord;
    }
    return {x0, x1, x2, x3};
  }

  /// 64 words for the elements 64·group … 64·group + 63 of a row that is known by three more
  /// numbers. Element e takes word (e mod 64) / 16 of counter (16·group + e mod 16): sixteen
  /// counters side by side fill one stretch of memory.
  MINIMA_HD static void words(u64 group, u64 a, u64 b, u64 c, u64 key, u32* out) {
#if defined(__x86_64__) && !defined(__CUDACC__)
    if (words_in_lanes(group, a, b, c, key, out)) return;  // at least four times as fast
#endif
    for (u64 lane = 0; lane < 16; ++lane) {
      const Block x = block({16 * group + lane, a, b, c}, key);
      out[lane] = static_cast<u32>(x.x0);
      out[lane + 16] = static_cast<u32>(x.x1);
      out[lane + 32] = static_cast<u32>(x.x2);
      out[lane + 48] = static_cast<u32>(x.x3);
    }
  }

  /// The one of them for element e of the row.
  MINIMA_HD static u32 word(u64 e, u64 a, u64 b, u64 c, u64 key) {
    const Block x = block({e / 64 * 16 + e % 16, a, b, c}, key);
    const u64 k = e % 64 / 16;  // no array: a GPU would keep it in memory
    return static_cast<u32>(k < 2 ? (k == 0 ? x.x0 : x.x1) : (k == 2 ? x.x2 : x.x3));
  }

 private:
  static constexpr u64 kWord = 0xffffffffu;
  static constexpr u32 kFactor0 = 0xD2511F53u, kFactor1 = 0xCD9E8D57u;
  static constexpr u32 kStep0 = 0x9E3779B9u, kStep1 = 0xBB67AE85u;

  /// factor · (x mod 2³²).
  MINIMA_HD static u64 product(u32 factor, u64 x) {
#if defined(__CUDA_ARCH__)  // has an instruction for it, which nvcc does not find
    u64 result;
    asm("mul.wide.u32 %0, %1, %2;" : "=l"(result) : "r"(factor), "r"(static_cast<u32>(x)));
    return result;
#else
    return u64{factor} * static_cast<u32>(x);
#endif
  }

  /// The same words by a processor's instruction for products of the low halves of 64-bit lanes,
  /// which compilers do not find. False, and nothing done, where it has none.
  static bool words_in_lanes(u64 group, u64 a, u64 b, u64 c, u64 key, u32* out);
  static void words_by_avx2(u64 group, u64 a, u64 b, u64 c, u64 key, u32* out);
  static void words_by_avx512(u64 group, u64 a, u64 b, u64 c, u64 key, u32* out);
};

/// A stream's key: a hash of the run's seed and the stream's name (a parameter's, a layer's,
/// "shuffle").
u64 stream_key(u64 seed, std::string_view name);

/// A sequence of numbers drawn from one stream, for what happens in a fixed order: initial weights,
/// shuffles, splits.
class RandomSequence {
 public:
  RandomSequence(u64 seed, std::string_view name) : key_(stream_key(seed, name)) {}

  u32 next() {
    if (used_ == 4) {
      const auto [x0, x1, x2, x3] =
          Philox::block({counter_ & 0xffffffffu, counter_ >> 32, 0, 0}, key_);
      words_ = {static_cast<u32>(x0), static_cast<u32>(x1), static_cast<u32>(x2),
                static_cast<u32>(x3)};
      ++counter_;
      used_ = 0;
    }
    return words_[used_++];
  }
  /// Uniform in [0, 1), with 53 bits.
  double uniform() {
    const u64 high = next() >> 5, low = next() >> 6;
    return static_cast<double>((high << 26) | low) * 0x1p-53;
  }
  /// Uniform in 0 … n-1, without bias. Throws Error where n is 0.
  u64 below(u64 n) {
    check(n > 0, "random: there is no number below 0");
    const u64 limit = ~u64{0} - ~u64{0} % n;
    for (;;) {
      const u64 high = next();
      if (const u64 x = (high << 32) | next(); x < limit) return x % n;
    }
  }
  /// Standard normal, by Box and Muller.
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * 3.14159265358979323846 * uniform());
  }
  /// Fisher and Yates.
  template <class Range>
  void shuffle(Range& range) {
    for (u64 i = range.size(); i > 1; --i) std::swap(range[i - 1], range[below(i)]);
  }

 private:
  u64 key_;
  u64 counter_ = 0;
  std::array<u32, 4> words_{};
  unsigned used_ = 4;
};

}  // namespace minima

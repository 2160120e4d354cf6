/// Counter-based random numbers: Philox 4×32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random
/// numbers: as easy as 1, 2, 3"). A number is a pure function of a key and a counter; nothing is
/// stored and no order of drawing exists, so packing, threads, accumulation and recomputation all
/// see the same numbers.
#pragma once

#include <array>
#include <cmath>
#include <string_view>

#include "core/types.hpp"

namespace minima {

struct Philox {
  using Block = std::array<u32, 4>;

  /// The 128 random bits at `counter` under `key`: ten rounds.
  MINIMA_HD static Block block(Block counter, u64 key) {
    u32 k0 = static_cast<u32>(key), k1 = static_cast<u32>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const u64 a = u64{0xD2511F53u} * counter[0], b = u64{0xCD9E8D57u} * counter[2];
      counter = {static_cast<u32>(b >> 32) ^ counter[1] ^ k0, static_cast<u32>(b),
                 static_cast<u32>(a >> 32) ^ counter[3] ^ k1, static_cast<u32>(a)};
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return counter;
  }
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
      block_ =
          Philox::block({static_cast<u32>(counter_), static_cast<u32>(counter_ >> 32), 0, 0}, key_);
      ++counter_;
      used_ = 0;
    }
    return block_[used_++];
  }
  /// Uniform in [0, 1), with 53 bits.
  double uniform() {
    const u64 high = next() >> 5, low = next() >> 6;
    return static_cast<double>((high << 26) | low) * 0x1p-53;
  }
  /// Uniform in 0 … n-1, without bias (n > 0).
  u64 below(u64 n) {
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
  Philox::Block block_{};
  unsigned used_ = 4;
};

}  // namespace minima

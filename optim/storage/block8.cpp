#include "optim/storage/block8.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace minima {
namespace {

/// The dynamic code: seven decades; decade 10^(i−6) holds 2^i numbers (2^(i+1) if unsigned), the
/// midpoints of as many equal intervals between 0.1 and 1; their negatives if signed; 0 and 1. The
/// rounding follows the public tables: interval ends are rounded to float, counted from the nearer
/// end of the decade.
void fill_values(CodeMap& map, bool with_sign) {
  float* next = map.value;
  *next++ = 0;
  *next++ = 1;
  for (int i = 0; i < 7; ++i) {
    const int n = 1 << (with_sign ? i : i + 1);
    const double first = 0.1f, step = (1.0f - 0.1f) / static_cast<float>(n);
    const auto end = [&](int k) {
      return static_cast<float>(2 * k <= n ? first + step * k : 1 - step * (n - k));
    };
    const float decade = static_cast<float>(std::pow(10.0, i - 6));
    for (int k = 0; k < n; ++k) {
      const float x = (end(k) + end(k + 1)) / 2 * decade;
      *next++ = x;
      if (with_sign) *next++ = -x;
    }
  }
  std::sort(map.value, map.value + 256);
}

u32 bits_of(float x) { return std::bit_cast<u32>(x); }

/// One entry for each bucket of magnitudes of one sign; returns where they end.
u32 fill_entries(CodeMap& map, u32 at, bool negative) {
  constexpr u32 one = 0x3f800000u;
  const u32 width = 1u << map.shift;
  const auto code = [&](u32 magnitude) -> u32 {
    const u8 found = slot_code(map, std::bit_cast<float>(magnitude | (negative ? 1u << 31 : 0u)));
    return negative ? 255u - found : found;
  };
  for (u32 begin = map.lowest; begin <= one; begin += width) {
    check(at < CodeMap::kMaxBuckets, "block8: the encoding table is full");
    const u32 last = std::min(begin + width - 1, one), first_code = code(begin);
    check(code(last) <= first_code + 1, "block8: a bucket of the encoding table spans two borders");
    // The first magnitude with the next code lies in (border, above].
    u32 border = begin, above = last;
    while (above - border > 1) {
      const u32 middle = border + (above - border) / 2;
      (code(middle) == first_code ? border : above) = middle;
    }
    map.entry[at++] =
        (first_code << 24) + (code(last) == first_code ? 0 : (1u << 24) - (above - begin));
  }
  return at;
}

CodeMap make_code_map(bool with_sign) {
  CodeMap map{};
  fill_values(map, with_sign);
  map.zero = static_cast<u32>(std::find(map.value, map.value + 256, 0.0f) - map.value);
  // Below half the smallest value every magnitude has one code.
  map.lowest = bits_of(std::exp2(std::floor(std::log2(map.value[map.zero + 1] / 2))));
  map.shift = with_sign ? 23 - 6 : 23 - 7;
  const u32 end = fill_entries(map, 0, false);
  map.negative = with_sign ? end : 0;
  if (with_sign) fill_entries(map, end, true);
  return map;
}

}  // namespace

u8 nearest_code(const CodeMap& map, float x) {
  const float* value = map.value;
  int above = static_cast<int>(std::lower_bound(value, value + 256, x) - value);
  above = std::clamp(above, 1, 255);
  const int below = above - 1;  // value[below] < x ≤ value[above]
  const float midpoint = (value[below] + value[above]) * 0.5f;
  return static_cast<u8>(x == midpoint ? below + below % 2 : x < midpoint ? below : above);
}

u8 slot_code(const CodeMap& map, float x) {
  const u8 code = nearest_code(map, x);
  const bool with_sign = map.value[0] < 0, negative = std::signbit(x);
  if (!with_sign || std::signbit(map.value[code]) == negative) return code;
  return static_cast<u8>(negative ? code - 1 : code + 1);
}

const CodeMap& signed_code_map() {
  static const CodeMap map = make_code_map(true);
  return map;
}

const CodeMap& unsigned_code_map() {
  static const CodeMap map = make_code_map(false);
  return map;
}

namespace block8 {
namespace {

u32 plain_largest(const float* values, i64 n) {
  u32 largest = 0;
  vectorize([&]() MINIMA_INLINE {
    for (i64 i = 0; i < n; ++i) {
      const u32 each = Block8Storage::magnitude(values[i]);
      largest = each > largest ? each : largest;
    }
  });
  return largest;
}

void plain_decode(const CodeMap& map, const u8* codes, i64 n, float absmax, float* values) {
  vectorize([&, value = map.value]() MINIMA_INLINE {
#pragma GCC ivdep
    for (i64 i = 0; i < n; ++i) values[i] = look_up(value, codes[i]) * absmax;
  });
}

void plain_encode(const CodeMap& map, const float* values, i64 n, float divisor, u8* codes) {
  vectorize([&, code = map.encoder()]() MINIMA_INLINE {
#pragma GCC ivdep
    for (i64 i = 0; i < n; ++i)
      codes[i] = static_cast<u8>(code(std::bit_cast<u32>(values[i] / divisor)));
  });
}

}  // namespace

const Loops plain{plain_largest, plain_decode, plain_encode};

const Loops& loops() {
  static const Loops fastest = loops_for(vector_unit());
  return fastest;
}

}  // namespace block8
}  // namespace minima

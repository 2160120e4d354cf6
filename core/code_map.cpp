#include "core/code_map.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/cpu/code_map_x86.hpp"
#include "core/error.hpp"
#include "core/stopwatch.hpp"

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

/// The first of the bits in (begin, last] that have another code than `begin`; `last` where none before it has.
template <class Code>
u32 border_between(u32 begin, u32 last, const Code& code) {
  const u32 first = code(begin);
  while (last - begin > 1) {
    const u32 middle = begin + (last - begin) / 2;
    (code(middle) == first ? begin : last) = middle;
  }
  return last;
}

/// One entry for each upper half of 32 bits.
void fill_entries(CodeMap& map) {
  constexpr u32 one = 0x3f800000u;
  for (u32 upper = 0; upper < 65536; ++upper) {
    const u32 sign = upper >> 15 << 31;
    const auto code = [&](u32 bits) -> u32 {
      const u32 magnitude = std::min(bits & 0x7fffffffu, one);
      const u8 found = slot_code(map, std::bit_cast<float>(magnitude | sign));
      return sign ? 255u - found : found;
    };
    const u32 begin = upper << 16, last = begin | 0xffffu, first_code = code(begin);
    check(code(last) <= first_code + 1,
          "code map: a bucket of the encoding table spans two borders");
    const u32 beyond =  // the border: so much of the bucket has the next code
        code(last) == first_code ? 0 : (1u << 16) - (border_between(begin, last, code) - begin);
    map.entry[upper] = (first_code << 16) + beyond;
  }
}

/// The same from the entries, for the buckets of CompactCodes.
void fill_compact(CodeMap& map) {
  CompactCodes& compact = map.compact;
  static_assert(CompactCodes::bucket(CompactCodes::kOne + CompactCodes::kDoubt) <
                CompactCodes::kNumbers);
  for (u32 code = 0; code < 256; ++code)
    compact.word[CompactCodes::kNumbers + code] = std::bit_cast<u32>(map.value[code]);
  for (const u32 sign : {0u, 1u << 31}) {
    const auto code = [&](u32 bits) -> u32 {
      const u32 found =
          map.code(std::bit_cast<u32>(std::bit_cast<float>(bits) / CompactCodes::kScale));
      return sign ? 255u - found : found;
    };
    const u32 end = sign | (CompactCodes::kOne + CompactCodes::kDoubt);
    for (u32 begin = sign, next; begin < end; begin = next) {
      const u32 bucket = CompactCodes::bucket(begin);
      const auto leaves = [=](u32 bits) { return CompactCodes::bucket(bits) != bucket; };
      next = border_between(begin, begin + (1u << 17), leaves);
      const u32 last = next - 1, first_code = code(begin);
      // Far behind the bucket where it has no border.
      u32 border = last + (1u << 22);
      if (code(last) != first_code) {
        border = border_between(begin, last, code);
        check(code(last) == first_code + 1 && border - begin > 2 * CompactCodes::kDoubt &&
                  last - border > 2 * CompactCodes::kDoubt,
              "code map: a border lies close to its bucket's, or a bucket has two");
      }
      compact.word[bucket] = ((first_code + 1) << 24) - border;
    }
  }
}

CodeMap make_code_map(bool with_sign) {
  CodeMap map{};
  fill_values(map, with_sign);
  map.zero = static_cast<u32>(std::find(map.value, map.value + 256, 0.0f) - map.value);
  fill_entries(map);
  fill_compact(map);
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

void plain_scale(const float* values, i64 n, i64 size, float* absmax) {
  vectorize([=]() MINIMA_INLINE {
    for (i64 begin = 0, b = 0; begin < n; begin += size, ++b) {
      u32 largest = 0;
      for (i64 i = begin; i < std::min(n, begin + size); ++i) {
        const u32 each = magnitude(values[i]);
        largest = each > largest ? each : largest;
      }
      absmax[b] = std::bit_cast<float>(largest);
    }
  });
}

void plain_decode(const CodeMap& map, const u8* codes, i64 n, i64 size, const float* absmax,
                  float* values) {
  vectorize([=, value = map.value]() MINIMA_INLINE {
    for (i64 begin = 0, b = 0; begin < n; begin += size, ++b) {
      const i64 end = std::min(n, begin + size);
      const float scale = absmax[b];
      MINIMA_INDEPENDENT
      for (i64 i = begin; i < end; ++i) values[i] = look_up(value, codes[i]) * scale;
    }
  });
}

void plain_encode(const CodeMap& map, const float* values, i64 n, i64 size, const float* absmax,
                  u8* codes) {
  vectorize([=, &map]() MINIMA_INLINE {
    for (i64 begin = 0, b = 0; begin < n; begin += size, ++b) {
      const i64 end = std::min(n, begin + size);
      const float by = divisor(absmax[b]);
      MINIMA_INDEPENDENT
      for (i64 i = begin; i < end; ++i)
        codes[i] = static_cast<u8>(map.code(std::bit_cast<u32>(values[i] / by)));
    }
  });
}

}  // namespace

const Loops plain{"plain code", plain_scale, plain_decode, plain_encode};

std::vector<Loops> ways([[maybe_unused]] VectorUnit unit) {
#if defined(__x86_64__)
  if (unit == VectorUnit::avx512 && __builtin_cpu_supports("avx512vbmi"))
    return {{"AVX-512", scale_avx512, decode_avx512, encode_avx512}};
  if (unit != VectorUnit::base)
    return {{"AVX2, by lines", scale_avx2, decode_by_loads_avx2, encode_by_lines_avx2},
            {"AVX2, by gathers", scale_avx2, decode_by_gathers_avx2, encode_by_gathers_avx2}};
#endif
  return {plain};
}

namespace {

/// The least seconds that some blocks took.
double seconds(const Loops& way) {
  constexpr i64 kBlock = 256, kBlocks = 8, kAll = kBlocks * kBlock;
  std::array<float, kAll> values;
  std::array<float, kBlocks> absmax;
  std::array<u8, kAll> codes;
  absmax.fill(1.7f);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<u8>(37 * i + i / 256);
  double least = 1;
  for (int round = 0; round < 8; ++round) {
    const Stopwatch watch;
    for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()}) {
      way.decode(*map, codes.data(), kAll, kBlock, absmax.data(), values.data());
      way.encode(*map, values.data(), kAll, kBlock, absmax.data(), codes.data());
    }
    least = std::min(least, watch.seconds());
  }
  return least;
}

}  // namespace

const Loops& loops() {
  static const Loops fastest = [] {
    const std::vector<Loops> all = ways(vector_unit());
    return all.size() == 1 ? all[0] : std::ranges::min(all, {}, seconds);
  }();
  return fastest;
}

}  // namespace block8
}  // namespace minima

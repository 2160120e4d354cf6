/// block8's loops for each vector unit against the plain ones.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <iterator>

#include "core/code_map.hpp"
#include "core/rng.hpp"
#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

/// Magnitudes up to 1 where a loop could go wrong: around every number of the map and every border
/// between two, and here and there between.
std::vector<float> telling_values(const CodeMap& map) {
  std::vector<float> values{0.0f, std::bit_cast<float>(1u), 0x1p-24f, 0x1p-23f};
  for (int code = 0; code < 256; ++code)
    for (const float x :
         {map.value[code], (map.value[code] + map.value[std::min(code + 1, 255)]) / 2})
      for (int ulp = -3; ulp <= 3; ++ulp) {
        const u32 bits = std::bit_cast<u32>(std::abs(x));
        values.push_back(std::bit_cast<float>(std::max(static_cast<i32>(bits) + ulp, 0)));
      }
  for (u32 bits = 0x33000000u; bits < 0x3f800000u; bits += 49999)
    values.push_back(std::bit_cast<float>(bits));
  // Again, each among zeros: a loop may leave all that it takes together to the table for one value in
  // doubt.
  const std::size_t n = values.size();
  values.resize(n + 32 * n);
  for (std::size_t i = 0; i < n; ++i) values[n + 32 * i + i % 32] = values[i];
  for (float& x : values) x = std::min(x, 1.0f);
  return values;
}

/// Of each vector unit that the processor has.
std::vector<block8::Loops> all_ways() {
  std::vector<block8::Loops> result;
  for (VectorUnit unit : {VectorUnit::base, VectorUnit::avx2, VectorUnit::avx512})
    if (unit <= widest_vector_unit())
      std::ranges::copy(block8::ways(unit), std::back_inserter(result));
  return result;
}

}  // namespace

TEST_CASE("on every vector unit, in every way, a block gets the codes of the plain loop") {
  for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()}) {
    const std::vector<float> magnitudes = telling_values(*map);
    for (float divisor :
         {1.0f, 1.7f, 0x1.fffffep-7f, 3e-30f, 3e-33f, 1e-40f, 2e35f, 3e38f, HUGE_VALF})
      for (int sign : {1, -1}) {
        std::vector<float> values = magnitudes;
        for (float& x : values)
          x = std::copysign(std::min(x * divisor, divisor), static_cast<float>(sign));
        for (i64 n : {static_cast<i64>(values.size()), i64{1}, i64{63}, i64{97}}) {
          std::vector<u8> expected(values.size()), codes(values.size());
          block8::plain.encode(*map, values.data(), n, n, &divisor, expected.data());
          for (const block8::Loops& way : all_ways()) {
            CAPTURE(way.name);
            CAPTURE(divisor);
            CAPTURE(n);
            way.encode(*map, values.data(), n, n, &divisor, codes.data());
            CHECK(codes == expected);
          }
        }
      }
  }
}

TEST_CASE("the compact codes are those of the whole table, at every border and between") {
  constexpr u32 one = 0x3f800000u, low = 0x33800000u;
  for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()})
    for (const u32 sign : {0u, 1u << 31}) {
      i64 wrong = 0;
      const auto check_at = [&](u32 magnitude) {
        float x[4];
        for (u32 e = 0; e < 4; ++e) x[e] = std::bit_cast<float>(sign | (magnitude + e));
        const u32 codes = map->compact.codes_of_quotients(x, 1.0f, CompactCodes::kScale);
        for (u32 e = 0; e < 4; ++e)
          wrong += (codes >> 8 * e & 255u) != map->code(std::bit_cast<u32>(x[e]));
      };
      for (u32 magnitude = 0; magnitude < low; magnitude += 4099) check_at(magnitude);
      for (u32 magnitude = low; magnitude <= one - 4; magnitude += 52) check_at(magnitude);
      for (const float x : telling_values(*map))
        check_at(std::min(std::bit_cast<u32>(std::abs(x)), one - 3));
      CHECK(wrong == 0);
    }
}

TEST_CASE("halfway between two numbers the even code is taken") {
  for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()})
    for (int below = 0; below < 255; ++below) {
      CAPTURE(below);
      const float x = (map->value[below] + map->value[below + 1]) * 0.5f;
      CHECK(nearest_code(*map, x) == (below % 2 == 0 ? below : below + 1));
    }
}

TEST_CASE("a quotient's code is told by a product, near a border by the quotient") {
  for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()}) {
    const std::vector<float> magnitudes = telling_values(*map);
    for (float divisor : {1.0f, 1.7f, 0x1.fffffep-7f, 0x1.000002p5f, 0x1.fffffep21f, 0x1p22f,
                          1e-30f, 3e-33f, 1e-40f, 2e35f, 3e38f, HUGE_VALF, std::nanf("")})
      for (const float off : {1.0f, 1 - 0x1p-23f, 1 + 0x1p-23f}) {  // a GPU's inverse is nearly one
        i64 wrong = 0;
        for (const float magnitude : magnitudes)
          for (const float sign : {1.0f, -1.0f}) {
            const float x[1] = {std::copysign(std::min(magnitude * divisor, divisor), sign)};
            wrong +=
                map->compact.codes_of_quotients(x, divisor, off / divisor * CompactCodes::kScale) !=
                map->code(std::bit_cast<u32>(x[0] / divisor));
          }
        CAPTURE(divisor);
        CHECK(wrong == 0);
      }
  }
}

TEST_CASE(
    "on every vector unit, in every way, the largest magnitude of a block is found wherever it "
    "stands") {
  std::vector<float> values(97, 1.0f);
  for (const float largest : {-2.0f, -HUGE_VALF, std::nanf("")})
    for (float& x : values) {
      x = largest;
      for (const block8::Loops& way : all_ways()) {
        CAPTURE(way.name);
        float found = -1;
        way.scale(values.data(), 97, 97, &found);
        CHECK(std::bit_cast<u32>(found) == (std::bit_cast<u32>(largest) & 0x7fffffffu));
      }
      x = 1;
    }
}

TEST_CASE("on every vector unit, in every way, every code is decoded as by the plain loop") {
  std::vector<u8> codes(300);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<u8>(i);
  for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()})
    for (float absmax : {0.0f, 1.0f, 1.7f, 3e-38f, 1e38f})
      for (i64 n : {300, 256, 77, 1}) {
        std::vector<float> expected(codes.size()), values(codes.size());
        block8::plain.decode(*map, codes.data(), n, n, &absmax, expected.data());
        for (const block8::Loops& way : all_ways()) {
          CAPTURE(way.name);
          CAPTURE(absmax);
          CAPTURE(n);
          way.decode(*map, codes.data(), n, n, &absmax, values.data());
          CHECK(std::memcmp(values.data(), expected.data(), values.size() * sizeof(float)) == 0);
        }
      }
}

TEST_CASE("on every vector unit, in every way, each block of a call has its own scale") {
  RandomSequence random(1, "blocks");
  for (const CodeMap* map : {&signed_code_map(), &unsigned_code_map()}) {
    // Scales within and beyond those whose inverse is accurate, and zeros, side by side.
    std::array<float, 1024> values;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float largest =
          std::array{1e-35f, 1.0f, 0.0f, 1e33f, 1e-3f, 1e35f, 3.0f, 1e-39f}[i / 128];
      values[i] = static_cast<float>(2 * random.uniform() - 1) * largest;
      if (map == &unsigned_code_map()) values[i] = std::abs(values[i]);
    }
    for (const i64 size : {16, 64, 100, 128, 256, 999, 4096})
      for (const block8::Loops& way : all_ways()) {
        CAPTURE(way.name);
        CAPTURE(size);
        const i64 n = values.size();
        std::array<float, 1024> absmax, decoded;
        std::array<u8, 1024> codes;
        way.scale(values.data(), n, size, absmax.data());
        way.encode(*map, values.data(), n, size, absmax.data(), codes.data());
        way.decode(*map, codes.data(), n, size, absmax.data(), decoded.data());
        i64 wrong = 0;
        for (i64 begin = 0; begin < n; begin += size) {
          float largest = 0;
          for (i64 i = begin; i < std::min(n, begin + size); ++i)
            largest = std::max(largest, std::abs(values[i]));
          wrong += absmax[begin / size] != largest;
          for (i64 i = begin; i < std::min(n, begin + size); ++i)
            wrong += codes[i] != slot_code(*map, values[i] / (largest == 0 ? 1 : largest)) ||
                     decoded[i] != map->value[codes[i]] * largest;
        }
        CHECK(wrong == 0);
      }
  }
}

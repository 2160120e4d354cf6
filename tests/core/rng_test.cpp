/// Random numbers by counter.
#include "core/rng.hpp"

#include <map>

#include "core/cpu/simd.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

std::array<u64, 4> words(Philox::Block counter, u64 key) {
  const auto [x0, x1, x2, x3] = Philox::block(counter, key);
  return {x0, x1, x2, x3};
}

}  // namespace

TEST_CASE("Philox 4x32-10 gives the known answers of its authors") {
  constexpr u64 kOnes = 0xffffffff;
  CHECK(words({0, 0, 0, 0}, 0) ==
        std::array<u64, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(words({kOnes, kOnes, kOnes, kOnes}, ~u64{0}) ==
        std::array<u64, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  // Digits of pi. The key's first word is its low half.
  CHECK(words({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822) ==
        std::array<u64, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("the words of a row are those of its counters, sixteen side by side") {
  u32 row[64];
  Philox::words(5, 6, 7, 8, 9, row);
  for (u64 element = 0; element < 64; ++element) {
    const std::array<u64, 4> expected = words({16 * 5 + element % 16, 6, 7, 8}, 9);
    CHECK(row[element] == expected[element / 16]);
  }
}

TEST_CASE("streams differ by seed and by name, and repeat") {
  const auto draw = [](u64 seed, const char* name) {
    RandomSequence sequence(seed, name);
    std::array<u32, 5> drawn;
    for (u32& word : drawn) word = sequence.next();
    return drawn;
  };
  CHECK(draw(1, "a") == draw(1, "a"));
  CHECK(draw(1, "a") != draw(2, "a"));
  CHECK(draw(1, "a") != draw(1, "b"));
  CHECK(stream_key(0, "") != stream_key(1, ""));
}

TEST_CASE("uniform and normal numbers have their mean, variance and independence") {
  constexpr int n = 200'000;
  RandomSequence sequence(3, "moments");
  double mean = 0, square = 0, neighbours = 0, last = 0;
  for (int i = 0; i < n; ++i) {
    const double x = sequence.uniform();
    REQUIRE((x >= 0 && x < 1));
    mean += x / n;
    square += (x - 0.5) * (x - 0.5) / n;
    neighbours += (x - 0.5) * last / n;
    last = x - 0.5;
  }
  // Six standard errors each.
  CHECK(std::abs(mean - 0.5) < 6 * std::sqrt(1.0 / 12 / n));
  CHECK(std::abs(square - 1.0 / 12) < 6 * std::sqrt(1.0 / 180 / n));
  CHECK(std::abs(neighbours) < 6 * (1.0 / 12) / std::sqrt(n));

  double normal_mean = 0, variance = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double x = sequence.normal();
    normal_mean += x / n;
    variance += x * x / n;
    fourth += x * x * x * x / n;
  }
  CHECK(std::abs(normal_mean) < 6 / std::sqrt(n));
  CHECK(std::abs(variance - 1) < 6 * std::sqrt(2.0 / n));
  CHECK(std::abs(fourth - 3) < 6 * std::sqrt(96.0 / n));
}

TEST_CASE("whole numbers below n are equally likely, and a shuffle is a permutation") {
  RandomSequence sequence(4, "below");
  std::array<int, 7> count{};
  for (int i = 0; i < 70'000; ++i) ++count[sequence.below(7)];
  for (int c : count) CHECK(std::abs(c - 10'000) < 6 * 93);
  CHECK_THROWS_WITH_AS(sequence.below(0), "random: there is no number below 0", Error);

  std::map<std::array<int, 3>, int> orders;
  for (int i = 0; i < 6000; ++i) {
    std::array<int, 3> items{0, 1, 2};
    sequence.shuffle(items);
    ++orders[items];
  }
  CHECK(orders.size() == 6);
  for (const auto& [order, times] : orders) CHECK(std::abs(times - 1000) < 6 * 29);
}

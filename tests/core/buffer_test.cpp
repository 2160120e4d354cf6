/// The allocator: what it counts, and that a steady state takes nothing from the system.
#include "core/buffer.hpp"

#include "core/tensor.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;

TEST_CASE("live and peak bytes are the bytes asked for") {
  const i64 before = memory_stats().live;
  reset_peak_memory();
  {
    const auto a = allocate(1000);
    CHECK(memory_stats().live == before + 1000);
    { const auto b = allocate(5'000'001); }
    const auto c = allocate(0), d = allocate(100);
    CHECK(memory_stats().live == before + 1100);
    CHECK(memory_stats().peak == before + 5'001'001);
    CHECK(memory_stats().reserved >= memory_stats().live);
  }
  CHECK(memory_stats().live == before);
  reset_peak_memory();
  CHECK(memory_stats().peak == before);
}

TEST_CASE("more than there is cannot be had, though the system would promise it") {
  CHECK(available_memory() > 0);
  REQUIRE(system_memory() >= available_memory());
  const i64 bytes = system_memory() / 10 * 6;
  std::shared_ptr<std::byte> most;  // nobody touches it
  if (const std::string error = test::error_of([&] { most = allocate(bytes); }); !error.empty()) {
    MESSAGE("skipped: this system promises no more than it has: ", error);
    return;
  }
  CHECK(test::contains(test::error_of([&] { allocate(bytes); }), "bytes cannot be had on cpu"));
}

TEST_CASE("blocks are aligned, large ones to huge pages") {
  for (i64 bytes : {0, 1, 63, 64, 100, 1000, 4097, 1 << 20}) {
    CAPTURE(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(allocate(bytes).get()) % 64 == 0);
  }
  CHECK(reinterpret_cast<std::uintptr_t>(allocate(3 << 20).get()) % (2 << 20) == 0);
}

TEST_CASE("a steady state takes nothing from the operating system") {
#if defined(__SANITIZE_ADDRESS__)
  MESSAGE("skipped: no blocks are cached under the address sanitizer, so that it sees each use");
#else
  const auto step = [](i64 wobble) {
    std::vector<Tensor> alive;
    for (i64 n : {10, 1000, 70'000, 1'000'000}) alive.push_back(Tensor::zeros({n}));
    alive.push_back(Tensor::zeros({1000 + wobble}));  // batches differ a little in their size
  };
  step(0);
  const MemoryStats before = memory_stats();
  for (i64 i = 0; i < 20; ++i) step(i);
  CHECK(memory_stats().allocations == before.allocations);
  CHECK(memory_stats().reserved == before.reserved);
#endif
}

TEST_CASE("a block serves what needs half of it: batches of many sizes do not take one for each") {
#if !defined(__SANITIZE_ADDRESS__)  // nothing is cached there
  release_cached_memory();
  const i64 before = memory_stats().allocations;
  for (i64 bytes = 10 << 20; bytes > 5 << 20; bytes -= 1 << 18) allocate(bytes);
  CHECK(memory_stats().allocations == before + 1);
  const auto less = allocate(4 << 20);  // would waste more than it uses
  CHECK(memory_stats().allocations == before + 2);
#endif
}

TEST_CASE("cached blocks can be given back") {
  { const auto block = allocate(10 << 20); }
  release_cached_memory();
  const MemoryStats stats = memory_stats();
  const auto block = allocate(10 << 20);
  CHECK(memory_stats().allocations == stats.allocations + 1);
  CHECK(memory_stats().reserved >= stats.reserved + (10 << 20));
}

TEST_CASE("memory that the system does not have is refused, and nothing is counted") {
  release_cached_memory();
  const auto in_use = allocate(10 << 20);
  reset_peak_memory();
  const MemoryStats before = memory_stats();
  { const auto cached = allocate(20 << 20); }  // is given back before the request fails
  const std::string message = test::error_of([] { allocate(i64{1} << 60); });
  CHECK(message.find("1152921504606846976 bytes cannot be had") != std::string::npos);
  CHECK(memory_stats().live == before.live);
  CHECK(memory_stats().reserved == before.reserved);
  CHECK(memory_stats().peak == before.live + (20 << 20));
  CHECK(memory_stats().allocations == before.allocations + 1);
}

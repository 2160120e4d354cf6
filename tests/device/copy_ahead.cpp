/// Copies to the device beside its work.
#include "core/copy_ahead.hpp"

#include "core/batch.hpp"
#include "tests/data/files.hpp"
#include "tests/device/device.hpp"
#include "tests/device/small_model.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::kDevice;

namespace {

/// n numbers of batch k.
Tensor numbers(i64 k, i64 n) {
  Tensor x = Tensor::empty({n}, DType::i64);
  for (i64 i = 0; i < n; ++i) x.data<i64>()[i] = 1000 * k + i;
  return x;
}

}  // namespace

TEST_CASE("each batch copied ahead is whole for the work on it, though nobody waits for any") {
  for (const Device device : {Device{}, kDevice}) {
    CAPTURE(to_string(device));
    const auto ahead = copy_ahead(device);
    const std::vector<i64> sizes{5, 7, 300, 300, 2, 299, 5000, 4000, 4097, 1, 1, 1};
    std::vector<Tensor> seen;
    ahead->begin(numbers(0, sizes[0]));
    for (i64 k = 0; k < std::ssize(sizes); ++k) {
      const Tensor x = ahead->take();
      const i64 n = sizes[static_cast<std::size_t>((k + 1) % std::ssize(sizes))];
      if (k % 2) seen.push_back(x.clone());  // the work on x, before the next copy begins …
      Tensor next = numbers(k + 1, n);
      ahead->begin(next);
      next.fill(-1);
      if (k % 2 == 0) seen.push_back(x.clone());  // … or after it
    }
    for (i64 k = 0; k < std::ssize(sizes); ++k) {
      CAPTURE(k);
      CHECK(test::same_bytes(seen[static_cast<std::size_t>(k)],
                             numbers(k, sizes[static_cast<std::size_t>(k)])));
    }
  }
}

TEST_CASE("a copy of nothing is nothing, of its type and device") {
  for (const Device device : {Device{}, kDevice}) {
    const auto ahead = copy_ahead(device);
    ahead->begin(Tensor::empty({0}, DType::i64));
    const Tensor nothing = ahead->take();
    CHECK(nothing.shape() == Shape{0});
    CHECK(nothing.dtype() == DType::i64);
    CHECK(nothing.device() == device);
  }
}

TEST_CASE("a copy that was begun and not taken gives way to the next") {
  for (const Device device : {Device{}, kDevice}) {
    const auto ahead = copy_ahead(device);
    CHECK_THROWS_WITH_AS(ahead->take(), "copy ahead: nothing was begun", Error);
    for (i64 k = 0; k < 3; ++k) ahead->begin(numbers(k, 10 + k));
    CHECK(test::same_bytes(ahead->take(), numbers(2, 12)));
    CHECK_THROWS_AS(ahead->take(), Error);
  }
}

TEST_CASE(
    "a copy for which there is no memory leaves the one before, and those after it are whole") {
  if (kDevice.kind != Device::Kind::emulated) return;  // only that one can be made to refuse
  const auto ahead = copy_ahead(kDevice);
  ahead->begin(numbers(0, 5));
  emulated::machine().pinned_bytes = 1000;
  CHECK(test::fault_of([&] { ahead->begin(numbers(1, 5000)); }) == Fault::memory);
  CHECK_NOTHROW(Tensor::full({1}, 1, DType::f32, kDevice));  // no kernel is blamed for it
  CHECK(test::same_bytes(ahead->take(), numbers(0, 5)));
  CHECK_THROWS_AS(ahead->begin(numbers(2, 5000)), Error);
  emulated::machine() = {};
  ahead->begin(numbers(3, 4000));
  CHECK(test::same_bytes(ahead->take(), numbers(3, 4000)));
}

TEST_CASE("a copy ahead goes into no memory that queued work is still to read") {
  const auto ahead = copy_ahead(kDevice);
  Tensor copy;
  {
    const Tensor x = numbers(7, 4096).to(kDevice);
    x.to(Device{});    // x is there
    copy = x.clone();  // and is still to be read when its memory is free again
  }
  ahead->begin(numbers(0, 4096));
  ahead->begin(numbers(1, 4096));  // waits for the copy before
  CHECK(test::same_bytes(copy, numbers(7, 4096)));
}

TEST_CASE("the batch that its numbers give back, wherever they lie, is the batch") {
  for (const auto& [pairs, chosen] : {std::pair(false, false), {true, false}, {true, true}}) {
    Batch batch = test::texts({3, 1, 9});
    if (pairs) batch.token_types = Tensor::full({13}, 1, DType::i64);
    if (chosen) {
      batch.chosen = Tensor::from(std::vector<i64>{1, 4, 5, 12});
      batch.labels = Tensor::from(std::vector<i64>{21, 22, 23, 24});
    }
    const BatchLayout layout(batch);
    for (const Device device : {Device{}, kDevice}) {
      const Batch found = layout.in(layout.numbers(batch).to(device));
      const auto check_same = [](const Tensor& a, const Tensor& b) {
        CHECK(test::same_bytes(a, b));
      };
      check_same(found.tokens, batch.tokens);
      check_same(found.positions, batch.positions);
      check_same(found.offsets, batch.offsets);
      check_same(found.example_id, batch.example_id);
      check_same(found.labels, batch.labels);
      CHECK(found.token_types.defined() == pairs);
      if (pairs) check_same(found.token_types, batch.token_types);
      check_same(found.row_example,
                 Tensor::from(std::vector<i64>{5, 5, 5, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7}));
      check_same(found.text_rows, Tensor::from(std::vector<i64>{0, 1, 2, 3}));
      CHECK(found.chosen.defined() == chosen);
      if (!chosen) continue;
      check_same(found.chosen, batch.chosen);
      check_same(found.chosen_offsets, Tensor::from(std::vector<i64>{0, 1, 1, 4}));
      check_same(found.chosen_positions, Tensor::from(std::vector<i64>{1, 0, 1, 8}));
      check_same(found.chosen_example, Tensor::from(std::vector<i64>{5, 7, 7, 7}));
    }
  }
}

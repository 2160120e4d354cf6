/// Properties for random shapes, options and numbers. RC_PARAMS="seed=… max_success=…" in the
/// environment chooses others than those of every run.
#include <rapidcheck.h>

#include <cstdlib>
#include <random>

#include "core/cpu/threads.hpp"
#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

template <class Property>
void check_property(const char* sentence, const Property& property) {
  setenv("RC_PARAMS", "seed=20180411 max_success=60", 0);
  CHECK(rc::check(sentence, property));
}

i64 any_of(i64 least, i64 most) { return *rc::gen::inRange<i64>(least, most + 1); }

/// A vector, matrix or batch of up to some 20,000 elements, often just beside a power of two.
Shape any_shape() {
  const i64 last = (i64{1} << any_of(0, 9)) + any_of(-1, 1);
  switch (any_of(1, 3)) {
    case 1:
      return {last * any_of(1, 40)};
    case 2:
      return {any_of(1, 40), last};
    default:
      return {any_of(1, 4), any_of(1, 10), last};
  }
}

/// Numbers of any sign over `decades` decades, and zeros.
Tensor any_numbers(const Shape& shape, int decades) {
  std::mt19937 random(static_cast<unsigned>(any_of(0, 1 << 30)));
  std::uniform_real_distribution<float> exponent(static_cast<float>(-decades), 1), sign(-1, 1);
  Tensor x = Tensor::empty(shape);
  for (float& value : x.span<float>())
    value =
        random() % 8 == 0 ? 0.0f : std::copysign(std::pow(10.0f, exponent(random)), sign(random));
  return x;
}

}  // namespace

TEST_CASE("any options, shape and gradients give the same bits on one, two and three threads") {
  const std::vector<std::string> specs = all_specs();
  check_property("the bits do not depend on the number of threads", [&] {
    const std::string spec = *rc::gen::elementOf(specs);
    const char* name = *rc::gen::element("w", "q_lin", "embeddings");
    const Shape shape = any_shape();
    const std::vector<Tensor> gradients{any_numbers(shape, 3), any_numbers(shape, 3)};
    RC_TAG(spec);
    const int before = threads();
    std::vector<Tensor> weights;
    std::vector<std::vector<NamedTensor>> states;
    for (int n : {1, 2, 3}) {
      set_threads(n);
      // A second parameter, so that tasks of both are under way at once.
      const Model model({{name, shape}, {"other", {33, 65}}});
      Optimizer optimizer = make_optimizer(spec, model.all());
      for (const Tensor& gradient : gradients) {
        model.set_gradients(1);
        model[0].gradient = gradient.clone();
        optimizer.step({.clip_norm = 3});
      }
      weights.push_back(model[0].value.clone());
      states.emplace_back();
      for (const NamedTensor& x : optimizer.tensors())
        states.back().push_back({x.name, x.tensor.clone()});
    }
    set_threads(before);
    for (std::size_t n : {1, 2}) {
      RC_ASSERT(same_bits(weights[0], weights[n]));
      for (std::size_t i = 0; i < states[0].size(); ++i)
        RC_ASSERT(same_bits(states[0][i].tensor, states[n][i].tensor));
    }
  });
}

TEST_CASE("whatever is stored in block8 comes back near, with its sign, and stays as it is then") {
  check_property("block8 keeps numbers as its page says", [] {
    const i64 block = any_of(16, 300), n = any_of(1, 2000);
    const bool with_sign = *rc::gen::arbitrary<bool>();
    Tensor wish = any_numbers({n}, 9);
    if (!with_sign)
      for (float& x : wish.span<float>()) x = std::abs(x);
    if (any_of(0, 3) == 0)  // a block of zeros
      for (i64 i = 0; i < std::min(block, n); ++i) wish.data<float>()[i] = 0;
    const Model model({{"w", {n}}});
    Optimizer optimizer = make_optimizer(
        fmt::format("adamw:state=block8:min_8bit_size=1:block_size={}", block), model.all());
    const PlannedSlot& slot = optimizer.state().slots[with_sign ? 0 : 1];
    const auto codes = [&] { return optimizer.tensors()[with_sign ? 0 : 2].tensor.clone(); };
    optimizer.set_values(slot, wish);
    const Tensor once = optimizer.values(slot), first_codes = codes();
    for (i64 begin = 0; begin < n; begin += block) {
      const i64 end = std::min(n, begin + block);
      float largest = 0;
      for (i64 i = begin; i < end; ++i)
        largest = std::max(largest, std::abs(wish.data<float>()[i]));
      for (i64 i = begin; i < end; ++i) {
        const float x = wish.data<float>()[i], y = once.data<float>()[i];
        // Half a step: 1/128 of the decade in the first, twice as much in each one below it.
        RC_ASSERT(std::abs(x - y) <= 0.0071f * largest);
        RC_ASSERT(x != 0 || y == 0);
        RC_ASSERT(x * y >= 0);
        if (std::abs(x) == largest && (x > 0 || largest == 0)) RC_ASSERT(y == x);
        if (with_sign && x < 0) RC_ASSERT(y < 0);
      }
    }
    optimizer.set_values(slot, once);
    if (!with_sign) RC_ASSERT(same_bits(codes(), first_codes));
    Tensor scaled = wish.clone();
    for (float& x : scaled.span<float>()) x *= 1024;
    optimizer.set_values(slot, wish);
    RC_ASSERT(same_bits(codes(), first_codes));
    optimizer.set_values(slot, scaled);
    RC_ASSERT(same_bits(codes(), first_codes));
  });
}

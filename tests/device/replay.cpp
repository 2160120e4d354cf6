/// Work that is recorded once and replayed.
#include <set>

#include "autograd/functions.hpp"
#include "core/ops/elementwise.hpp"
#include "core/recording.hpp"
#include "nn/models/classifier.hpp"
#include "nn/models/masked_lm.hpp"
#include "nn/replayed_loss.hpp"
#include "tests/device/device.hpp"
#include "tests/device/small_model.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::nn;
using test::kDevice;

namespace {

Tensor full(double value) { return Tensor::full({300}, value, DType::f32, kDevice); }

bool holds(const Tensor& x, float value) {
  const Tensor here = x.to(Device{});
  return std::ranges::all_of(here.span<float>(), [=](float v) { return v == value; });
}

/// A training of `steps` steps, each over its list of batches. What the replayed one does is queued by few calls.
struct Trained {
  std::vector<double> losses;
  std::vector<Tensor> values;
  std::vector<i64> calls;  ///< of forward and backward, by batch
  i64 recorded = 0;
};
Variable loss_of(const Classifier& model, const Batch& batch, const Pass& pass) {
  return cross_entropy(model(batch, pass), batch.labels);
}
Variable loss_of(const MaskedLm& model, const Batch& batch, const Pass& pass) {
  return model.loss(batch, pass);
}

template <class Model = Classifier>
Trained train(const std::vector<std::vector<Batch>>& steps, bool replayed, Pooling pooling,
              bool checkpoint_layers, DType precision = DType::f32) {
  Model model(test::small_model(pooling));
  model.initialize(7);
  model.to(kDevice);
  const auto loss_of = [&](const Batch& batch, const Pass& pass) {
    return ::loss_of(model, batch, pass);
  };
  ReplayedLoss replay(model.parameters(), loss_of);
  Trained trained;
  std::vector<Tensor> losses;
  for (i64 step = 0; step < std::ssize(steps); ++step) {
    const Pass pass{.training = true,
                    .seed = 3,
                    .step = step,
                    .checkpoint_layers = checkpoint_layers,
                    .precision = precision};
    const auto& batches = steps[static_cast<std::size_t>(step)];
    for (const Batch& batch : batches) {
      const BatchLayout layout(batch);
      const Tensor numbers = layout.numbers(batch).to(kDevice);
      const i64 calls = test::calls(), waits = test::waits();
      const Variable loss =
          replayed ? replay(layout, numbers, pass) : loss_of(layout.in(numbers), pass);
      loss.backward(Tensor::full({}, 1 / static_cast<double>(batches.size()), DType::f32, kDevice));
      trained.calls.push_back(test::calls() - calls);
      CHECK(test::waits() == waits);
      losses.push_back(loss.value());
    }
    for (Parameter* parameter : model.parameters()) {
      Tensor& p = parameter->value;
      const Tensor g = parameter->gradient.to_dense(p.shape());
      p.copy_from(ops::binary<ops::Sub>(
          p, ops::binary<ops::Mul>(g, Tensor::full(g.shape(), 0.1, DType::f32, kDevice))));
      parameter->gradient.clear();
    }
  }
  for (const Tensor& loss : losses) trained.losses.push_back(loss.item());
  for (const Parameter* parameter : model.parameters())
    trained.values.push_back(parameter->value.to(Device{}));
  trained.recorded = replay.recorded();
  return trained;
}

void check_equal(const Trained& found, const Trained& expected) {
  CHECK(found.losses == expected.losses);
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    CAPTURE(i);
    CHECK(test::same_bytes(found.values[i], expected.values[i]));
  }
}

/// Further texts of the same lengths.
Batch others(Batch batch, i64 k) {
  batch.tokens = batch.tokens.clone();
  for (i64& token : batch.tokens.span<i64>()) token = (token * 3 + k) % 50;
  batch.example_id = batch.example_id.clone();
  for (i64& example : batch.example_id.span<i64>()) example += 100 * k;
  return batch;
}

}  // namespace

TEST_CASE("a recording does what was recorded each time it is replayed, on what lies there then") {
  const MemoryPool pool(kDevice);
  Tensor x = full(1), y;
  const Tensor sum = full(0);
  const Recording recording(pool, [&] {
    y = ops::binary<ops::Mul>(x, x);
    Tensor to = sum;
    to.copy_from(ops::binary<ops::Add>(sum, y));
  });
  CHECK(holds(sum, 0));
  x.fill(3);
  recording.replay();
  x.fill(2);
  recording.replay();
  CHECK(holds(y, 4));
  CHECK(holds(sum, 13));
}

TEST_CASE("a choice by numbers of another type than those chosen can be recorded") {
  const Tensor condition = Tensor::full({300}, 1e-300, DType::f64, kDevice);
  Tensor y;
  const Recording recording(MemoryPool(kDevice),
                            [&] { y = ops::where(condition, full(2), full(3)); });
  recording.replay();
  CHECK(holds(y, 2));
}

TEST_CASE("memory of a recording is nobody else's, and that of its pool serves the next") {
  const i64 live = memory_stats(kDevice).live;
  {
    const MemoryPool pool(kDevice);
    const Tensor x = full(2);
    Tensor y, z;
    const auto square = [&] { return ops::binary<ops::Mul>(ops::binary<ops::Add>(x, x), x); };
    const Recording first(pool, [&] { y = square(); });
    const Tensor own = full(5);
    const i64 taken = memory_stats(kDevice).reserved;
    const Recording second(pool, [&] { z = square(); });
    CHECK(memory_stats(kDevice).reserved <= taken + 2048);  // z; the sum is where the first's was
    const Tensor part = x.rows(0, 200);
    const i64 before = memory_stats(kDevice).reserved;
    Tensor few;
    const Recording third(
        pool, [&] { few = ops::binary<ops::Mul>(ops::binary<ops::Add>(part, part), part); });
    CHECK(memory_stats(kDevice).reserved <= before + 1024);  // of a smaller size it is there, too
    first.replay(), second.replay(), third.replay();
    CHECK(holds(few, 8));
    CHECK(holds(own, 5));
    CHECK(holds(y, 8));
    CHECK(holds(z, 8));
  }
  CHECK(memory_stats(kDevice).live == live);
}

TEST_CASE("what needs the host cannot be recorded, and the device goes on afterwards") {
  const MemoryPool pool(kDevice);
  const Tensor x = full(2), here = Tensor::full({300}, 1);
  CHECK_THROWS_WITH_AS(Recording(pool, [&] { x.to(Device{}); }),
                       "recording: a copy to the host cannot be recorded; what is recorded must "
                       "not need the host",
                       Error);
  CHECK_THROWS_AS(Recording(pool, [&] { here.to(kDevice); }), Error);
  CHECK_THROWS_WITH_AS(Recording(MemoryPool(Device{}), [] {}),
                       "recording: the cpu queues nothing; a recording is for a GPU", Error);
  CHECK(holds(ops::binary<ops::Add>(x, here.to(kDevice)), 3));
}

TEST_CASE("a replayed loss trains to the bits of one that is queued kernel by kernel" *
          doctest::test_suite("many steps")) {
  const Batch some = test::texts({3, 40, 17, 1}), more = test::texts({12, 5});
  std::vector<std::vector<Batch>> steps;
  for (i64 k = 0; k < 6; ++k) steps.push_back({others(k % 3 == 1 ? more : some, k)});
  struct Setting {
    Pooling pooling;
    bool checkpoint_layers;
    DType precision;
  };
  for (const auto& [pooling, checkpoint_layers, precision] :
       {Setting{Pooling::first, false, DType::f32}, Setting{Pooling::mean, false, DType::f32},
        Setting{Pooling::first, true, DType::f32}, Setting{Pooling::first, false, DType::bf16}}) {
    const Trained expected = train(steps, false, pooling, checkpoint_layers, precision);
    const Trained found = train(steps, true, pooling, checkpoint_layers, precision);
    check_equal(found, expected);
    CHECK(found.recorded == 2);
    if (kDevice.kind != Device::Kind::emulated) continue;
    CHECK(found.calls.back() < 12);
    CHECK(expected.calls.back() > 100);
  }
}

TEST_CASE("a replayed language model trains to the same bits, also on batches that hide nothing" *
          doctest::test_suite("many steps")) {
  std::vector<std::vector<Batch>> steps;
  for (i64 k = 0; k < 9; ++k) {
    Batch batch = others(test::texts({3, 17}), k);
    std::vector<i64> chosen, hidden;
    for (i64 i = 0; i < 4 * (k % 3); ++i)
      chosen.push_back(1 + 2 * i), hidden.push_back((7 * i + k) % 50);
    batch.chosen = Tensor::from(chosen), batch.labels = Tensor::from(hidden);
    steps.push_back({batch});
  }
  const Trained found = train<MaskedLm>(steps, true, Pooling::first, false);
  check_equal(found, train<MaskedLm>(steps, false, Pooling::first, false));
  CHECK(found.recorded == 3);
  CHECK(found.losses[6] == 0);
  CHECK(found.losses[7] > 0);
}

TEST_CASE("of more layouts than are kept the one that was not asked for longest is forgotten") {
  Parameter w{.name = "w", .value = Tensor::full({3}, 1, DType::f32, kDevice), .gradient = {}};
  i64 computed = 0;  // not replayed
  ReplayedLoss replay({&w}, [&](const Batch&, const Pass&) {
    ++computed;
    return sum(Variable(w));
  });
  const auto ask = [&](i64 tokens) {
    const BatchLayout layout(test::texts({tokens}));
    computed = 0;
    replay(layout, layout.numbers(test::texts({tokens})).to(kDevice), {}).backward();
    w.gradient.clear();
    return computed;
  };
  for (i64 tokens = 1; tokens <= ReplayedLoss::kMostRecorded + 1; ++tokens) {
    CHECK(ask(tokens) == 1);
    CHECK(ask(tokens) == 1);
    CHECK(ask(tokens) == 0);
    CHECK(ask(1) == 0);
  }
  CHECK(replay.recorded() == ReplayedLoss::kMostRecorded);
  CHECK(ask(3) == 0);
  CHECK(ask(2) == 1);
}

TEST_CASE("layouts of many sizes are replayed within the memory of a few batches") {
  if (kDevice.kind != Device::Kind::emulated) return;  // only that one can be made smaller
  Classifier model(test::small_model(Pooling::first));
  model.initialize(7);
  model.to(kDevice);
  const auto loss_of = [&](const Batch& batch, const Pass& pass) {
    return ::loss_of(model, batch, pass);
  };
  ReplayedLoss replay(model.parameters(), loss_of);
  const auto train_on = [&](i64 tokens, bool replayed) {
    const Batch batch = test::texts({tokens, tokens, tokens});
    const BatchLayout layout(batch);
    const Tensor numbers = layout.numbers(batch).to(kDevice);
    const Variable loss = replayed ? replay(layout, numbers, {}) : loss_of(layout.in(numbers), {});
    loss.backward();
    for (Parameter* parameter : model.parameters()) parameter->gradient.clear();
    return loss.value().item();
  };
  const std::vector<i64> lengths{36, 20, 52, 28, 44, 24, 40, 32, 48};
  release_cached_memory(kDevice);
  reset_peak_memory(kDevice);
  const MemoryStats before = memory_stats(kDevice);
  std::vector<double> expected;
  for (const i64 tokens : lengths) expected.push_back(train_on(tokens, false));
  release_cached_memory(kDevice);
  // Of these, two are the gradients of nine layouts.
  const i64 batches = 5 * (memory_stats(kDevice).peak - before.live);
  emulated::machine().memory_bytes = static_cast<std::size_t>(before.reserved + batches);
  for (int turn = 0; turn < 3; ++turn) {
    std::vector<double> found;
    for (const i64 tokens : lengths) found.push_back(train_on(tokens, true));
    CHECK(found == expected);
  }
  emulated::machine() = {};
  CHECK(replay.recorded() == std::ssize(lengths));
}

TEST_CASE("replayed batches are accumulated, of one layout and of several" *
          doctest::test_suite("many steps")) {
  const Batch some = test::texts({3, 40, 17, 1}), more = test::texts({12, 5});
  std::vector<std::vector<Batch>> steps;
  for (i64 k = 0; k < 6; ++k)
    steps.push_back({others(k % 2 ? more : some, 10 * k), others(some, 10 * k + 1),
                     others(more, 10 * k + 2), others(more, 10 * k + 3)});
  check_equal(train(steps, true, Pooling::first, false),
              train(steps, false, Pooling::first, false));
}

TEST_CASE("what fills a batch up looks up no row that the batch does not") {
  Batch batch = test::texts({3, 40});
  for (i64& token : batch.tokens.span<i64>()) token += 2;
  batch.token_types = Tensor::full({43}, 1, DType::i64);
  const Batch filled = filled_up(batch, 64);
  const auto rows = [](const Tensor& ids) {
    return std::set<i64>(ids.span<i64>().begin(), ids.span<i64>().end());
  };
  for (const auto part : {&Batch::tokens, &Batch::positions, &Batch::token_types}) {
    CHECK((filled.*part).size() == 64);
    CHECK(rows(filled.*part) == rows(batch.*part));
  }
}

TEST_CASE("what fills a batch up changes no loss and no gradient" *
          doctest::test_suite("many steps")) {
  const Batch batch = test::texts({3, 40, 17, 1});
  Batch masked = test::texts({3, 17});
  masked.chosen = Tensor::from(std::vector<i64>{1, 5, 6, 19});
  masked.labels = Tensor::from(std::vector<i64>{49, 1, 0, 7});
  const Pass pass{.training = true, .seed = 3, .step = 2};
  const auto check_unchanged = [](auto model, const auto& loss_of, const Batch& batch, i64 multiple,
                                  Device device) {
    model.initialize(7);
    model.to(device);
    const auto results = [&](const Batch& of) {
      const Variable loss = loss_of(model, of);
      loss.backward();
      std::vector<Tensor> all{loss.value().to(Device{})};
      for (Parameter* parameter : model.parameters())
        all.push_back(
            std::exchange(parameter->gradient, {}).to_dense(parameter->value.shape()).to(Device{}));
      return all;
    };
    const Batch filled = filled_up(batch, multiple);
    CHECK(filled.texts() == 17);
    CHECK(filled.tokens.size() % multiple == 0);
    CHECK(filled.labels.size() == (batch.chosen.defined() ? std::max<i64>(4, multiple) : 17));
    const std::vector<Tensor> expected = results(batch), found = results(filled);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(i);
      test::check_close(found[i], expected[i], {batch.chosen.defined() ? 1e-6 : 1e-7, 1e-5});
    }
  };
  for (const Device device : {Device{}, kDevice}) {
    for (const Pooling pooling : {Pooling::first, Pooling::mean})
      for (const i64 multiple : {64, 74, 75, 1})
        check_unchanged(
            Classifier(test::small_model(pooling)),
            [&](const Classifier& model, const Batch& of) {
              return cross_entropy(model(of, pass), of.labels.to(device));
            },
            batch, multiple, device);
    for (const i64 multiple : {64, 1})
      check_unchanged(
          MaskedLm(test::small_model(Pooling::first)),
          [&](const MaskedLm& model, const Batch& of) { return model.loss(of, pass); }, masked,
          multiple, device);
  }
}

TEST_CASE("a loss whose memory the next one has taken has no backward any more") {
  Classifier model(test::small_model(Pooling::first));
  model.initialize(7);
  model.to(kDevice);
  ReplayedLoss replay(model.parameters(), [&](const Batch& batch, const Pass& pass) {
    return cross_entropy(model(batch, pass), batch.labels);
  });
  const Batch batch = test::texts({3, 5});
  const BatchLayout layout(batch);
  const Tensor numbers = layout.numbers(batch).to(kDevice);
  replay(layout, numbers, {}).backward();
  const Variable first = replay(layout, numbers, {}), second = replay(layout, numbers, {});
  CHECK_THROWS_WITH_AS(first.backward(),
                       "replayed loss: backward comes after the next forward pass, which has "
                       "overwritten what it needs; take the losses one by one",
                       Error);
  CHECK_NOTHROW(second.backward());
  CHECK(first.value().item() == second.value().item());
}

TEST_CASE("a loss is recorded anew when other parameters are trained") {
  Parameter a{.name = "a", .value = Tensor::full({3}, 1, DType::f32, kDevice), .gradient = {}},
      b{.name = "b", .value = Tensor::full({3}, 2, DType::f32, kDevice), .gradient = {}};
  ReplayedLoss replay({&a, &b},
                      [&](const Batch&, const Pass&) { return sum(Variable(a) * Variable(b)); });
  const BatchLayout layout(test::texts({3}));
  for (const bool trained : {false, false, false, true}) {
    b.trainable = trained;
    a.gradient.clear(), b.gradient.clear();
    replay(layout, layout.numbers(test::texts({3})).to(kDevice), {}).backward();
    CHECK(bool(a.gradient));
    CHECK(bool(b.gradient) == trained);
  }
}

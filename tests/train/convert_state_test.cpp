/// State that goes over from one optimizer to another.
#include "train/convert_state.hpp"

#include <random>
#include <set>

#include "core/buffer.hpp"
#include "tests/support.hpp"

using namespace minima;
using How = SlotConversion::How;

namespace {

/// Two matrices (one of several blocks in 8 bits), a stack of matrices and a vector.
struct Model {
  Parameter wide = parameter("wide", {12, 30}), tall = parameter("tall", {7, 3}),
            stack = parameter("stack", {2, 4, 5}), bias = parameter("bias", {9});

  std::vector<Parameter*> all() { return {&wide, &tall, &stack, &bias}; }

  static Parameter parameter(const char* name, Shape shape) {
    return {.name = name, .value = Tensor::full(shape, 0.5f), .gradient = {}};
  }

  void steps(Optimizer& optimizer, int count, std::uint32_t seed = 1) {
    std::mt19937 random(seed);
    for (int step = 0; step < count; ++step) {
      for (Parameter* p : all()) {
        Tensor gradient = Tensor::empty(p->value.shape());
        for (float& g : gradient.span<float>())
          g = static_cast<float>(static_cast<double>(random()) / 0x1p31 - 0.9);
        p->gradient = Gradient(gradient);
      }
      optimizer.step();
    }
  }
};

const PlannedSlot& slot(const Optimizer& optimizer, const std::string& key) {
  for (const PlannedSlot& planned : optimizer.state().slots)
    if (planned.key() == key) return planned;
  FAIL("no slot " << key);
  return optimizer.state().slots.front();
}

Tensor values(const Optimizer& optimizer, const std::string& key) {
  return optimizer.values(slot(optimizer, key));
}

const SlotConversion& conversion(const std::vector<SlotConversion>& list, const std::string& key) {
  for (const SlotConversion& c : list)
    if (c.parameter + "/" + c.slot == key) return c;
  FAIL("no conversion of " << key);
  return list.front();
}

i64 steps_of(const Optimizer& optimizer, const std::string& parameter) {
  return static_cast<i64>(values(optimizer, parameter + "/step").data<float>()[0]);
}

}  // namespace

TEST_CASE("what the new optimizer has no use for is told of") {
  Model model;
  Optimizer adam = make_optimizer("adamw:amsgrad=true", model.all());
  model.steps(adam, 2);
  Optimizer next = make_optimizer("adafactor", model.all());
  const auto dropped = [](const std::vector<SlotConversion>& list) {
    std::set<std::string> slots;
    for (const SlotConversion& c : list)
      if (c.how == How::dropped) slots.insert(c.from);
    return slots;
  };
  const std::vector<SlotConversion> list = convert_state(adam, next);
  CHECK(dropped(list) == std::set<std::string>{"exp_avg", "max_exp_avg_sq"});
  CHECK(table(list).find("max_exp_avg_sq") != std::string::npos);
  model.steps(next, 1);
  Optimizer again = make_optimizer("adafactor:beta1=0.9", model.all());
  CHECK(dropped(convert_state(next, again)).empty());  // its RMS is computed anew
}

TEST_CASE("Adam's state goes to 8 bits within the code's resolution, and back bit for bit") {
  Model model;
  Optimizer full = make_optimizer("adamw:lr=1e-3", model.all());
  model.steps(full, 5);
  Optimizer coded = make_optimizer("adamw8bit:lr=1e-3:min_8bit_size=16:block_size=64", model.all());
  const auto list = convert_state(full, coded);
  CHECK(conversion(list, "wide/exp_avg").how == How::re_encoded);
  CHECK(conversion(list, "bias/exp_avg").how == How::copied);  // too small for 8 bits
  for (const std::string key : {"wide/exp_avg", "wide/exp_avg_sq", "bias/exp_avg"}) {
    CAPTURE(key);
    const Tensor exact = values(full, key), decoded = values(coded, key);
    float largest = 0;
    for (const float x : exact.span<float>()) largest = std::max(largest, std::abs(x));
    // The dynamic map's widest gap is 0.9/64 of the block's maximum, of nonnegative ones 0.9/128.
    test::check_close(decoded, exact, {largest * 0.9 / 128, 0});
  }
  CHECK(steps_of(coded, "wide") == 5);

  Optimizer back = make_optimizer("adam:lr=1e-3", model.all());
  convert_state(coded, back);
  CHECK(test::same_bits(values(back, "wide/exp_avg_sq"), values(coded, "wide/exp_avg_sq")));

  // The same storage: codes are copied, so that nothing is rounded twice.
  Optimizer again = make_optimizer("adam8bit:min_8bit_size=16:block_size=64", model.all());
  for (const SlotConversion& c : convert_state(coded, again)) CHECK(c.how == How::copied);
  for (const auto& [name, tensor] : again.tensors())
    for (const auto& [other, original] : coded.tensors())
      if (name == other)
        CHECK(std::equal(tensor.raw(), tensor.raw() + tensor.bytes(), original.raw()));
}

TEST_CASE("a rule that takes over its own state goes on as if nothing had happened") {
  for (const std::string spec :
       {"adamw:lr=0.01:amsgrad=true", "adafactor:beta1=0.9:lr=0.01:relative_step=false", "came",
        "adapm", "sgd:momentum=0.9:dampening=0.5", "lion", "adafactor-torch"}) {
    CAPTURE(spec);
    Model one, two;
    Optimizer straight = make_optimizer(spec, one.all()), first = make_optimizer(spec, two.all());
    one.steps(straight, 4);
    two.steps(first, 4);
    Optimizer second = make_optimizer(spec, two.all());
    for (const SlotConversion& c : convert_state(first, second)) CHECK_FALSE(c.needs_warmup);
    one.steps(straight, 2, 7);
    two.steps(second, 2, 7);
    for (std::size_t i = 0; i < one.all().size(); ++i)
      CHECK(test::same_bits(one.all()[i]->value, two.all()[i]->value));
  }
}

TEST_CASE("the second moment becomes its row and column means, in double precision") {
  Model model;
  Optimizer adamw = make_optimizer("adamw:beta2=0.99", model.all());
  model.steps(adamw, 6);
  const double unit = 1 - std::pow(0.99, 6);  // of exp_avg_sq
  const Tensor v = values(adamw, "stack/exp_avg_sq");
  std::vector<double> rows(8, 0), columns(10, 0);
  for (std::size_t b = 0; b < 2; ++b)
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t j = 0; j < 5; ++j) {
        const double x = v.data<float>()[(b * 4 + i) * 5 + j] / unit;
        rows[b * 4 + i] += x / 5;
        columns[b * 5 + j] += x / 4;
      }
  for (const std::string spec : {"adafactor", "adafactor-torch", "came"}) {
    CAPTURE(spec);
    Optimizer target = make_optimizer(spec, model.all());
    // CAME's β₂ is constant, and nothing corrects for the start at 0.
    const double own = spec == "came" ? 1 - std::pow(0.999, 6) : 1;
    const auto list = convert_state(adamw, target);
    const bool torch =
        spec == "adafactor-torch" && std::ranges::count(list, "row_var", &SlotConversion::slot) > 0;
    const Tensor R = values(target, torch ? "stack/row_var" : "stack/exp_avg_sq_row");
    const Tensor C = values(target, torch ? "stack/col_var" : "stack/exp_avg_sq_col");
    REQUIRE(R.size() == 8);
    REQUIRE(C.size() == 10);
    for (std::size_t i = 0; i < rows.size(); ++i)
      CHECK(R.data<float>()[i] == test::about(own * rows[i], 1e-6));
    for (std::size_t j = 0; j < columns.size(); ++j)
      CHECK(C.data<float>()[j] == test::about(own * columns[j], 1e-6));
    CHECK(steps_of(target, "stack") == 6);
    const Tensor whole = values(target, torch ? "bias/variance" : "bias/exp_avg_sq");
    CHECK(whole.data<float>()[3] ==
          test::about(own * values(adamw, "bias/exp_avg_sq").data<float>()[3] / unit, 1e-6));
    for (const SlotConversion& c : list)
      if (c.slot == "exp_avg") CHECK(c.how == How::afresh);  // a mean of updates
  }
}

TEST_CASE(
    "of a constant gradient every optimizer hands over the second moment that the next would "
    "have") {
  for (const std::string from :
       {"adamw:lr=0", "came:lr=0", "adafactor:lr=0:relative_step=false", "adafactor-torch:lr=0"})
    for (const std::string to : {"adamw:lr=0", "adapm:lr=0", "came:lr=0", "adafactor-torch:lr=0",
                                 "adafactor:lr=0:relative_step=false"}) {
      CAPTURE(from);
      CAPTURE(to);
      Parameter w{.name = "w", .value = Tensor::full({3, 4}, 0.5), .gradient = {}},
          b{.name = "b", .value = Tensor::full({3}, 0.5), .gradient = {}};
      const auto step = [&](Optimizer& optimizer, int steps) {
        for (int i = 0; i < steps; ++i) {
          for (Parameter* each : {&w, &b}) each->gradient = Tensor::full(each->value.shape(), 2);
          optimizer.step({});
        }
      };
      const std::vector<Parameter*> both{&w, &b};
      Optimizer old = make_optimizer(from, both), next = make_optimizer(to, both),
                whole = make_optimizer(to, both);
      step(old, 7);
      convert_state(old, next);
      step(next, 3);
      step(whole, 10);
      for (const PlannedSlot& slot : whole.state().slots)
        if (slot.slot.find("sq") != std::string::npos || slot.slot.find("var") != std::string::npos)
          test::check_close(next.values(slot), whole.values(slot), {0, 1e-5});
    }
}

TEST_CASE("row and column means become the matrix of rank one that has them") {
  Model model;
  Optimizer adafactor = make_optimizer("adafactor", model.all());
  model.steps(adafactor, 4);
  Optimizer adamw = make_optimizer("adamw", model.all());
  const auto list = convert_state(adafactor, adamw);
  CHECK(conversion(list, "tall/exp_avg").how == How::afresh);
  CHECK(conversion(list, "tall/exp_avg_sq").from == "exp_avg_sq_row, exp_avg_sq_col");
  CHECK(steps_of(adamw, "tall") == 4);
  const Tensor R = values(adafactor, "tall/exp_avg_sq_row"),
               C = values(adafactor, "tall/exp_avg_sq_col"), v = values(adamw, "tall/exp_avg_sq");
  double mean = 0;
  for (const float r : R.span<float>()) mean += r / 7.0;
  const double unit = 1 - std::pow(0.999, 4);
  for (std::size_t i = 0; i < 7; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      CHECK(v.data<float>()[i * 3 + j] ==
            test::about(unit * R.data<float>()[i] * C.data<float>()[j] / mean, 1e-6));
  // There and back again: the means are the same.
  Optimizer again = make_optimizer("adafactor", model.all());
  convert_state(adamw, again);
  test::check_close(values(again, "stack/exp_avg_sq_row"),
                    values(adafactor, "stack/exp_avg_sq_row"), {0, 1e-5});
}

TEST_CASE("a mean of gradients and SGD's sum of them differ by their unit") {
  Model model;
  Optimizer adam = make_optimizer("adam:beta1=0.8", model.all());
  model.steps(adam, 3);
  const double unit = 1 - std::pow(0.8, 3);
  const float m = values(adam, "bias/exp_avg").data<float>()[2];

  Optimizer lion = make_optimizer("lion", model.all());
  CHECK(conversion(convert_state(adam, lion), "bias/exp_avg").how == How::converted);
  CHECK(values(lion, "bias/exp_avg").data<float>()[2] == test::about(m / unit, 1e-6));

  Optimizer sgd = make_optimizer("sgd:momentum=0.9", model.all());
  CHECK(conversion(convert_state(adam, sgd), "bias/momentum_buffer").from == "exp_avg");
  CHECK(values(sgd, "bias/momentum_buffer").data<float>()[2] == test::about(10 * m / unit, 1e-6));

  Optimizer climbing = make_optimizer("sgd:momentum=0.9:maximize=true", model.all());
  convert_state(sgd, climbing);
  CHECK(values(climbing, "bias/momentum_buffer").data<float>()[2] ==
        test::about(-10 * m / unit, 1e-6));
}

TEST_CASE("beside both states a conversion holds one slot's numbers, once") {
  Model model;
  Optimizer sgd = make_optimizer("sgd:momentum=0.9", model.all());
  model.steps(sgd, 2);
  Optimizer lion = make_optimizer("lion", model.all());
  const i64 before = memory_stats().live;
  reset_peak_memory();
  const auto list = convert_state(sgd, lion);
  CHECK(conversion(list, "wide/exp_avg").how == How::converted);
  CHECK(memory_stats().peak == before + model.wide.value.bytes());
}

TEST_CASE("what has no sound conversion starts afresh, and it is said why") {
  Model model;
  Optimizer sgd = make_optimizer("sgd:momentum=0.9", model.all());
  model.steps(sgd, 3);
  Optimizer adamw = make_optimizer("adamw", model.all());
  for (const SlotConversion& c : convert_state(sgd, adamw)) {
    if (c.how == How::dropped) continue;
    CHECK(c.how == How::afresh);
    CHECK(c.needs_warmup);
    CHECK(c.note.find("second moment") != std::string::npos);
  }
  CHECK(steps_of(adamw, "wide") == 0);
  const Tensor average = values(adamw, "wide/exp_avg");
  for (const float x : average.span<float>()) CHECK(x == 0);

  Optimizer plain = make_optimizer("sgd", model.all());
  for (const SlotConversion& c : convert_state(sgd, plain)) CHECK(c.how == How::dropped);
  CHECK(table({}).find("no state") != std::string::npos);

  Optimizer endless = make_optimizer("sgd:momentum=1", model.all());
  CHECK(conversion(convert_state(sgd, endless), "bias/momentum_buffer").how == How::afresh);
  Optimizer first_alone = make_optimizer("sgd:momentum=0.9:dampening=1", model.all());
  model.steps(first_alone, 3);
  Optimizer lion = make_optimizer("lion", model.all());
  CHECK(conversion(convert_state(first_alone, lion), "bias/exp_avg").note ==
        "a sum of no known size");

  Optimizer came = make_optimizer("came", model.all());
  const auto list = convert_state(sgd, came);
  CHECK(conversion(list, "wide/exp_avg_res_row").note == "a statistic of its own");
  CHECK(table(list).find("afresh") != std::string::npos);
}

TEST_CASE("optimizers of different models have nothing to convert") {
  Model model;
  Parameter other = Model::parameter("other", {3});
  const Optimizer one = make_optimizer("adamw", model.all());
  Optimizer two = make_optimizer("adamw", std::vector<Parameter*>{&other});
  CHECK_THROWS_WITH_AS(convert_state(one, two), doctest::Contains("the same model"), Error);
}

TEST_CASE("parameters of equal names and other shapes are refused") {
  Parameter one{"w", Tensor::zeros({10, 20}), {}}, other{"w", Tensor::zeros({5, 20}), {}};
  const Optimizer from = make_optimizer("adamw", std::vector<Parameter*>{&one});
  Optimizer to = make_optimizer("adafactor", std::vector<Parameter*>{&other});
  CHECK_THROWS_WITH_AS(convert_state(from, to), doctest::Contains("names or shapes"), Error);
}

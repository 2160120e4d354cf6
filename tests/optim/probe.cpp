/// What a probe shows of a step is what the step did, for every optimizer and storage.
#include <set>

#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

/// A step, looked at in one element of a parameter.
Probe probed_step(Optimizer& optimizer, const Parameter& parameter, i64 element) {
  Probe probe;
  probe.element = element;
  optimizer.step({.probed = &parameter, .probe = &probe});
  return probe;
}

}  // namespace

TEST_CASE("constants are named by their letters, also where two have the same value") {
  const Model model({{"w", {1}}});
  model[0].value.fill(2), model[0].gradient = Tensor::full({1}, 0.5);
  Optimizer optimizer = make_optimizer("adamw:beta1=0.5:beta2=0.5:lr=0.25:eps=0", model.all());
  const Probe probe = probed_step(optimizer, model[0], 0);
  const std::vector<Trace::Line> lines = probe.trace.lines();
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].letters == "β₁ * m + (1 − β₁) * g");
  CHECK(lines[0].numbers == "0.5 * 0 + 0.5 * 0.5");
  CHECK(lines[1].letters == "β₂ * v + (1 − β₂) * g * g");
  CHECK(lines[2].letters == "1/√(1 − β₂ᵗ) * sqrt(v) + ε");
  CHECK(lines[3].letters == "(1 − lr·λ) * p - lr/(1 − β₁ᵗ) * m / (√v̂ + ε)");
  CHECK(lines[3].value == model[0].value.data<float>()[0]);
}

TEST_CASE("no two slots of a parameter have one letter") {
  for (const std::string& spec : all_specs())
    for (const char* name : {"w", "q_lin", "embeddings"}) {
      CAPTURE(spec);
      CAPTURE(name);
      const Model model({{name, {4, 3}}});
      const Optimizer optimizer = make_optimizer(spec, model.all());
      std::set<std::string> letters;
      for (const PlannedSlot& slot : optimizer.state().slots)
        if (!slot.letter.empty()) CHECK(letters.insert(slot.letter).second);
    }
}

TEST_CASE("a matrix rule tells of its means, and they are the state's") {
  struct Means {
    const char *spec, *row, *column;
    double beta;
    std::size_t slot;  ///< of the row's; the column's is the next
  };
  for (const Means& of : {Means{"adafactor", "R", "C", -1, 0},
                          {"came", "R", "C", 0.999, 1},
                          {"came", "U", "S", 0.9999, 3},
                          {"adapm:factored=true", "R", "C", 0.999, 1},
                          {"adafactor-torch", "R", "C", -1, 0}}) {
    CAPTURE(of.spec);
    const Model model({{"w", {2, 6, 5}}});
    Optimizer optimizer = make_optimizer(of.spec, model.all());
    float row = 0, column = 0;
    for (int t = 1; t <= 3; ++t) {
      model.set_gradients(t);
      Probe probe;
      probe.element = (6 + 2) * 5 + 3;  // of the second matrix
      optimizer.step({.probed = &model[0], .probe = &probe});
      const auto value = [&](const std::string& letter) {
        CAPTURE(letter);
        REQUIRE(probe.find(letter));
        return probe.find(letter)->value;
      };
      const double beta = of.beta >= 0 ? of.beta : 1 - std::pow(t, -0.8);
      const auto moves = [&](float& mean, const std::string& letter, const std::string& over,
                             std::size_t slot, i64 at) {
        mean = static_cast<float>(beta * static_cast<double>(mean) +
                                  (1 - beta) * value(over + " (" + letter + ")"));
        CHECK(value(letter) == static_cast<double>(mean));
        CHECK(mean == optimizer.values(optimizer.state().slots[slot]).data<float>()[at]);
      };
      moves(row, of.row, "row mean", of.slot, 6 + 2);
      moves(column, of.column, "col mean", of.slot + 1, 5 + 3);
    }
  }
}

TEST_CASE(
    "of an element that the guard or a row that is not given leaves alone no formula is shown") {
  const Model model({{"w", {4, 3}}});
  for (const bool guarded : {true, false}) {
    const Tensor before = model[0].value.clone();
    Optimizer optimizer = make_optimizer(
        guarded ? "adamw:non_finite_guard=true" : "adamw:lazy_rows=true", model.all());
    if (guarded)
      model[0].gradient = Tensor::full({4, 3}, 1e30);
    else
      model[0].gradient = Gradient::rows(Tensor::from<i64>({2}), Tensor::full({1, 3}, 1));
    const Probe probe = probed_step(optimizer, model[0], 4);
    CHECK(probe.trace.lines().empty());
    REQUIRE(probe.find("p"));
    CHECK(probe.find("p")->formula.starts_with("stays"));
    CHECK(probe.find("p")->value == static_cast<double>(before.data<float>()[4]));
    CHECK(model[0].value.data<float>()[4] == before.data<float>()[4]);
  }
}

TEST_CASE("a vector's second moment is told of with what it is made of") {
  const Model model({{"w", {5}}});
  Optimizer optimizer = make_optimizer("adafactor:eps1=0.25", model.all());
  for (int t = 1; t <= 2; ++t) {
    model.set_gradients(t);
    const auto g = static_cast<double>(model[0].gradient.values().data<float>()[3]);
    const Probe probe = probed_step(optimizer, model[0], 3);
    REQUIRE(probe.find("(g² + ε₁)"));
    CHECK(probe.find("(g² + ε₁)")->value == doctest::Approx(g * g + 0.25).epsilon(1e-6));
    CHECK(probe.find("C")->formula == "β₂ C + (1 − β₂) · (g² + ε₁)");
    CHECK(probe.find("C")->value ==
          static_cast<double>(optimizer.values(optimizer.state().slots[0]).data<float>()[3]));
  }
}

TEST_CASE("what a formula makes of constants alone has letters too") {
  const Model model({{"w", {4, 3}}});
  Optimizer optimizer = make_optimizer("adapm:factored=true", model.all());
  model.set_gradients(0);
  const Probe probe = probed_step(optimizer, model[0], 4);
  const std::vector<Trace::Line> lines = probe.trace.lines();
  const auto v = std::ranges::find(lines, "v", &Trace::Line::name);
  REQUIRE(v != lines.end());
  CHECK(v->letters == "R/mean(R) * C");
}

TEST_CASE("the constants that are told of are those of the formula") {
  for (const std::string& spec : all_specs())
    for (const char* name : {"w", "q_lin", "embeddings"}) {  // the kinds of momentum of adapm
      CAPTURE(spec);
      CAPTURE(name);
      const Model model({{name, {4, 3}}});
      Optimizer optimizer = make_optimizer(spec, model.all());
      model.set_gradients(0);
      const Probe probe = probed_step(optimizer, model[0], 4);
      std::string formula;
      for (const Trace::Line& line : probe.trace.lines()) formula += line.letters + "\n";
      for (const Trace::Constant& constant : probe.trace.constants()) {
        CAPTURE(constant.letter);
        CHECK(formula.find(constant.letter) != std::string::npos);
      }
    }
}

TEST_CASE("a step without a mean of its own corrects nothing for bias") {
  const Model model({{"q_lin", {4, 3}}});
  Optimizer optimizer = make_optimizer("adapm:none=q_lin", model.all());
  model.set_gradients(0);
  const Probe probe = probed_step(optimizer, model[0], 4);
  for (const Trace::Constant& constant : probe.trace.constants())
    CHECK(constant.letter != "lr/(1 − β₁ᵗ)");
}

TEST_CASE("the mean over a row that is told of is that of its squares") {
  const Model model({{"w", {6, 5}}});
  Optimizer optimizer = make_optimizer("adafactor:eps1=0.25", model.all());
  model.set_gradients(0);
  double squares = 0;
  for (i64 j = 0; j < 5; ++j)
    squares +=
        std::pow(static_cast<double>(model[0].gradient.values().data<float>()[2 * 5 + j]), 2);
  const Probe probe = probed_step(optimizer, model[0], 2 * 5 + 3);
  CHECK(probe.find("row mean (R)")->value == doctest::Approx(squares / 5 + 0.25).epsilon(1e-6));
  CHECK(probe.find("β₂")->value == 0);
  CHECK(probe.find("clip")->value >= 1);
}

TEST_CASE("a watched step has the bits of any other, and reports what it did") {
  for (const std::string& spec : all_specs()) {
    CAPTURE(spec);
    const Model model({{"a", {300}}, {"b", {20, 30}}}), plain({{"a", {300}}, {"b", {20, 30}}});
    Optimizer watched = make_optimizer(spec, model.all()),
              other = make_optimizer(spec, plain.all());
    for (int k = 0; k < 3; ++k) {
      model.set_gradients(k), plain.set_gradients(k);
      const Tensor before = model[1].value.clone();
      const StepReport report = watched.step({.lr_factor = 0.5, .clip_norm = 2, .watch = true});
      other.step({.lr_factor = 0.5, .clip_norm = 2});
      REQUIRE(report.tensors.size() == 2);
      const TensorReport& b = report.tensors[1];
      CHECK(b.name == "b");
      double weight = 0, update = 0, gradient = 0;
      for (i64 i = 0; i < 600; ++i) {
        const double w = static_cast<double>(before.data<float>()[i]);
        const double u = static_cast<double>(model[1].value.data<float>()[i]) - w;
        const double g = static_cast<double>(model[1].gradient.values().data<float>()[i]);
        weight += w * w / 600, update += u * u / 600, gradient += g * g / 600;
      }
      const double factor = 2 / (*report.grad_norm + 1e-6);
      CHECK(b.weight_rms == about(std::sqrt(weight)));
      CHECK(b.update_rms == about(std::sqrt(update), 1e-3));
      CHECK(b.gradient_rms == about(factor * std::sqrt(gradient)));
      CHECK(b.step_size > 0);
    }
    check_same(model, plain);
    check_same_state(watched, other);
  }
}

TEST_CASE("Adafactor's step size is its own, and it says when it clips") {
  const Model model({{"w", {40, 30}}});
  model[0].value.fill(0.5);
  Optimizer relative = make_optimizer("adafactor:clip_threshold=0.1", model.all());
  model.set_gradients(0);
  const TensorReport first = relative.step({.watch = true}).tensors[0];
  CHECK(first.step_size == about(0.01 * 0.5));
  CHECK(first.update_clipped);
  CHECK(first.update_rms == about(0.1 * first.step_size, 1e-3));
  Optimizer loose = make_optimizer("adafactor:clip_threshold=100", model.all());
  CHECK_FALSE(loose.step({.watch = true}).tensors[0].update_clipped);
}

TEST_CASE("lazy rows: only given rows move, and they move as a dense step moves them") {
  for (const char* rule :
       {"sgd:lr=0.1:momentum=0.9:weight_decay=0.1", "adamw", "lion:weight_decay=0.1",
        "came:weight_decay=0.1", "adafactor:weight_decay=0.1:scale_parameter=false"})
    for (const char* state : {"fp32", "bf16", "block8"}) {
      const std::string spec = std::string(rule) + ":min_8bit_size=1:block_size=16:state=" + state;
      CAPTURE(spec);
      const Model lazy({{"w", {9, 32}}}), dense({{"w", {9, 32}}});
      Optimizer a = make_optimizer(spec + ":lazy_rows=true", lazy.all());
      Optimizer b = make_optimizer(spec, dense.all());
      const Tensor start = lazy[0].value.clone();
      for (int k = 0; k < 3; ++k) {
        const Tensor ids = Tensor::from(std::vector<i64>{1, 2, 7});
        for (const Model* model : {&lazy, &dense})
          (*model)[0].gradient =
              Gradient::rows(ids, random_tensor({3, 32}, "rows" + std::to_string(k)));
        a.step(), b.step();
      }
      for (i64 row : {1, 2, 7})
        if (rule != std::string("came:weight_decay=0.1"))  // its confidence sums up over all rows
          CHECK(same_bits(lazy[0].value.rows(row, row + 1).clone(),
                          dense[0].value.rows(row, row + 1).clone()));
      for (i64 row : {0, 3, 4, 5, 6, 8}) {
        CHECK(
            same_bits(lazy[0].value.rows(row, row + 1).clone(), start.rows(row, row + 1).clone()));
        CHECK_FALSE(
            same_bits(dense[0].value.rows(row, row + 1).clone(), start.rows(row, row + 1).clone()));
      }
    }
}

TEST_CASE("lazy rows in blocks that hold several rows leave the others' weights alone") {
  const Model model({{"w", {8, 8}}});
  const Tensor start = model[0].value.clone();
  Optimizer optimizer =
      make_optimizer("adamw8bit:min_8bit_size=1:block_size=16:lazy_rows=true", model.all());
  model[0].gradient =
      Gradient::rows(Tensor::from(std::vector<i64>{3}), random_tensor({1, 8}, "row"));
  optimizer.step();
  for (i64 row = 0; row < 8; ++row)
    CHECK(same_bits(model[0].value.rows(row, row + 1).clone(), start.rows(row, row + 1).clone()) ==
          (row != 3));
}

TEST_CASE("8-bit state that is zero stays zero beside a lazy row, and in larger blocks") {
  const Model model({{"w", {8, 8}}});
  const Tensor start = model[0].value.clone();
  const std::string spec = "adamw8bit:min_8bit_size=1:lazy_rows=true:weight_decay=0:block_size=";
  Optimizer optimizer = make_optimizer(spec + "16", model.all()),
            larger = make_optimizer(spec + "64", model.all());
  const PlannedSlot momentum = optimizer.state().slots[0];
  const auto step = [&](std::vector<i64> rows, const Tensor& values) {
    model[0].gradient = Gradient::rows(Tensor::from(rows), values);
    optimizer.step();
  };
  const auto check_zero = [&](const Optimizer& of, i64 row) {
    const Tensor values = of.values(momentum).rows(row, row + 1);
    for (float m : values.span<float>()) CHECK(m == 0);
  };
  step({3}, random_tensor({1, 8}, "row"));
  check_zero(optimizer, 2);  // of the same block
  larger.set_values(momentum, optimizer.values(momentum));
  check_zero(larger, 0);
  step({2}, Tensor::zeros({1, 8}));
  CHECK(same_bits(model[0].value.rows(2, 3).clone(), start.rows(2, 3).clone()));
}

TEST_CASE("lazy rows of a vector are its elements, for matrix rules too") {
  for (const char* rule :
       {"adamw", "came:weight_decay=0.1", "adafactor:beta1=0.9:weight_decay=0.1"})
    for (const char* state : {"fp32", "bf16", "block8"}) {
      const Model model({{"w", {64}}});
      const Tensor start = model[0].value.clone();
      Optimizer optimizer = make_optimizer(
          fmt::format("{}:lazy_rows=true:min_8bit_size=1:state={}", rule, state), model.all());
      model[0].gradient =
          Gradient::rows(Tensor::from(std::vector<i64>{3, 5}), random_tensor({2}, "elements"));
      optimizer.step();
      CAPTURE(rule);
      CAPTURE(state);
      for (i64 i = 0; i < 64; ++i)
        CHECK((model[0].value.data<float>()[i] == start.data<float>()[i]) == (i != 3 && i != 5));
    }
}

TEST_CASE("state that is written where all was zero moves the next step") {
  for (const char* state : {"fp32", "bf16", "block8"})
    for (const bool by_value : {true, false}) {
      CAPTURE(state);
      CAPTURE(by_value);
      const Model model({{"w", {20, 256}}});
      Optimizer optimizer =
          make_optimizer(std::string("adamw:weight_decay=0:state=") + state, model.all());
      const auto step = [&] {
        model[0].gradient =
            Gradient::rows(Tensor::from(std::vector<i64>{1}), random_tensor({1, 256}, "row"));
        optimizer.step();
      };
      step(), step();  // the second knows that the other rows' state is zero
      const Tensor start = model[0].value.clone();
      Tensor momentum = Tensor::zeros({20, 256});
      momentum.rows(7, 8).fill(1);
      if (by_value) {
        optimizer.set_values(optimizer.state().slots[0], momentum);
      } else {
        Optimizer other =
            make_optimizer(std::string("adamw:weight_decay=0:state=") + state, model.all());
        other.set_values(other.state().slots[0], momentum);
        optimizer.assign(by_name(other.tensors()));
      }
      step();
      for (i64 row : {0, 7})
        CHECK(same_bits(model[0].value.rows(row, row + 1).clone(),
                        start.rows(row, row + 1).clone()) == (row != 7));
    }
}

TEST_CASE("values and set_values are the state, decoded and encoded") {
  for (const char* state : {"fp32", "bf16", "block8"}) {
    CAPTURE(state);
    const Model model({{"w", {37, 19}}});
    Optimizer optimizer = make_optimizer(
        std::string("adamw:min_8bit_size=1:block_size=50:state=") + state, model.all());
    const PlannedSlot& slot = optimizer.state().slots[0];
    const Tensor wish = random_tensor({37, 19}, "wish");
    optimizer.set_values(slot, wish);
    check_close(optimizer.values(slot), wish, {0.05, 0.02});
    const Tensor once = optimizer.values(slot).clone();
    optimizer.set_values(optimizer.state().slots[2], Tensor::scalar(12.0f));
    CHECK(optimizer.values(optimizer.state().slots[2]).item() == 12);
    CHECK(same_bits(optimizer.values(slot), once));
    CHECK_THROWS_WITH_AS(optimizer.set_values(slot, Tensor::zeros({3})),
                         doctest::Contains("[37, 19]"), Error);
  }
}

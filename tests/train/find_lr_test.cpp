#include "train/find_lr.hpp"

#include "tests/support.hpp"
#include "tests/train/line.hpp"
#include "tests/train/small_task.hpp"

using namespace minima;
using test::small_task;

TEST_CASE("a loss that blows up does not flatten the curve of a search for a learning rate") {
  LearningRateCurve curve{"adamw", {}, {}, {1.79, 1.80, 1.75, 1.71, 1.78, 4, 15}, 0, 0, 0};
  for (std::size_t i = 0; i < curve.smoothed.size(); ++i)
    curve.rates.push_back(std::pow(10, static_cast<double>(i) - 6));
  CHECK(highest_drawn({curve}) == doctest::Approx(1.89));
  const std::string page = find_lr_page({curve});
  CHECK(page.find(">1.90</text>") != std::string::npos);
  CHECK(page.find(">2.00</text>") == std::string::npos);
  CHECK(page.find("A curve ends where it passes 1.89") != std::string::npos);
  for (const std::string& told : {page, curve.text()})
    CHECK(told.find("where the loss falls steepest, at most a tenth of the rate where it is "
                    "lowest") != std::string::npos);
  // Of 48 cells: (1.75 − 1.71) / (1.89 − 1.71), and all of what is beyond.
  const auto cells = [](int n) {
    std::string text;
    while (n-- > 0) text += "█";
    return text + "\n";
  };
  CHECK(curve.text().find("1.750  " + cells(11)) != std::string::npos);
  CHECK(curve.text().find("15.000  " + cells(48)) == std::string::npos);  // an ellipsis follows
  CHECK(curve.text().find("from 1.710 to 1.890") != std::string::npos);
}

TEST_CASE("a search in which the loss hardly falls says that it tells little") {
  LearningRateCurve curve{"sgd", {1e-3, 1e-2, 1e-1}, {}, {1.792, 1.791, 1.792}, 0, 0, 0};
  const std::string too_flat = "falls by less than a hundredth";
  CHECK(curve.text().find(too_flat) != std::string::npos);
  CHECK(find_lr_page({curve}).find(too_flat) != std::string::npos);
  curve.smoothed[1] = 1.7;
  CHECK(curve.text().find(too_flat) == std::string::npos);
  CHECK(find_lr_page({curve}).find(too_flat) == std::string::npos);
}

TEST_CASE("a fall behind the lowest loss suggests no rate") {
  test::Line line;
  Objective objective = line.objective();
  objective.loss = [&](std::span<const i64>,
                       const nn::Pass& pass) {  // slowly down, up, and fast down
    const double t = static_cast<double>(pass.step);
    const double loss = t < 50   ? 2 - 0.02 * t
                        : t < 60 ? 1 + 0.18 * (t - 50)
                                 : std::max(1.5, 2.8 - 0.05 * (t - 60));
    return BatchLoss{
        add(test::times(mean(Variable(line.slope)), 0), Variable(Tensor::full({}, loss)))};
  };
  const LearningRateCurve curve = find_learning_rate(objective, "sgd", test::line_options());
  CHECK(curve.rates.size() == 100);
  CHECK(curve.steepest < curve.lowest);
}

TEST_CASE("in fp16 a step of the search that overflows is taken once more, at a lower scale") {
  test::Line line;
  Objective objective = line.objective();
  std::vector<std::pair<i64, i64>> seen;  // step and batch
  objective.loss = [&](std::span<const i64> batch, const nn::Pass& pass) {
    seen.emplace_back(pass.step, batch[0]);
    return BatchLoss{test::times(mean(Variable(line.slope)), 2e34)};  // infinite at 2¹⁶ and 2¹⁵
  };
  TrainingOptions options = test::line_options();
  options.clip_value = 1e-3;
  options.precision = Precision::fp16;
  const LearningRateCurve curve = find_learning_rate(objective, "sgd", options);
  CHECK(curve.rates.size() == 100);
  CHECK(curve.rates[0] == LearningRateSearch{}.least);
  std::vector<std::pair<i64, i64>> expected{{1, 1}, {1, 1}};
  for (i64 step = 1; step <= 100; ++step) expected.emplace_back(step, 1 + (step - 1) % 4);
  CHECK(seen == expected);
}

TEST_CASE("the search for a learning rate leaves the weights alone and suggests one that trains") {
  TrainingOptions options{.epochs = 1, .batch = BatchSize::of_texts(16)};
  nn::Classifier model(small_task().config);
  model.initialize(1);
  const std::vector<float> before = test::values_of(model.parameters());
  const Objective objective = classification(model, small_task().data, options);
  for (const std::string spec :
       {"adamw", "sgd:momentum=0.9", "adafactor:relative_step=false:lr=1"}) {
    CAPTURE(spec);
    const LearningRateCurve curve = find_learning_rate(objective, spec, options);
    CHECK(test::values_of(model.parameters()) == before);
    CHECK(curve.suggestion > 1e-6);
    CHECK(curve.suggestion == std::min(curve.steepest, curve.lowest / 10));
    CHECK(curve.steepest <= curve.lowest);
    CHECK(curve.rates.size() == curve.smoothed.size());
    CHECK(curve.text().find("suggested lr") != std::string::npos);
  }
  // In the precision that training will have; the first gradients of fp16 may overflow and lower its scale.
  const LearningRateCurve wide = find_learning_rate(objective, "adamw", options);
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    options.precision = precision;
    const LearningRateCurve narrow = find_learning_rate(objective, "adamw", options);
    CHECK(test::values_of(model.parameters()) == before);
    CHECK(narrow.losses != wide.losses);
    CHECK(narrow.losses[0] == doctest::Approx(wide.losses[0]).epsilon(0.01));
    CHECK(narrow.rates.size() > 50);
    CHECK(narrow.suggestion / wide.suggestion == doctest::Approx(1).epsilon(9));
  }
  options.precision = Precision::fp32;
  Objective broken = objective;
  broken.loss = [&](std::span<const i64> batch, const nn::Pass& pass) {
    check(pass.step < 5, "no fifth step");
    return objective.loss(batch, pass);
  };
  CHECK_THROWS_WITH_AS(find_learning_rate(broken, "adamw", options), "no fifth step", Error);
  CHECK(test::values_of(model.parameters()) == before);
  CHECK_THROWS_WITH_AS(find_learning_rate(objective, "adafactor", options),
                       doctest::Contains("relative_step"), Error);
  CHECK(with_learning_rate("adamw:lr=1:eps=1e-6", 0.5) == "adamw:eps=1e-6:lr=0.5");
  CHECK(learning_rate("adamw:lr=2e-3") == 2e-3);
  CHECK_FALSE(learning_rate("adafactor"));
  CHECK_FALSE(learning_rate("adafactor:lr=none"));
}

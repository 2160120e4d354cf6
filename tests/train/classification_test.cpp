#include "train/classification.hpp"

#include <set>

#include "autograd/functions.hpp"
#include "tests/support.hpp"
#include "tests/train/small_task.hpp"
#include "train/splits.hpp"
#include "train/worst.hpp"

using namespace minima;
using test::small_task;

TEST_CASE("balanced classes count alike all together, and numbers count as they are given") {
  TokenizedSplit train;
  train.labels = {0, 0, 0, 0, 0, 2, 2, 2};
  train.offsets = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  // scikit-learn's compute_class_weight("balanced"), where class 1 occurs: 8 / (3 · n_c).
  CHECK(class_weights("balanced", train, 3) == std::vector<double>{8 / 15.0, 0, 8 / 9.0});
  CHECK(class_weights("1,2.5,1e-1", train, 3) == std::vector<double>{1, 2.5, 0.1});
  CHECK(class_weights("", train, 3).empty());
  CHECK_THROWS_WITH_AS(class_weights("balanced", train, 2),
                       "class-weights: a text has the label 2 of 2 classes", Error);
  for (const auto& [text, word] : {std::pair{"1,2", "3 classes"},
                                   {"1,2,0", "positive"},
                                   {"1,2,-1", "positive"},
                                   {"1,2,3,", "balanced"},
                                   {"1,,3", "number"},
                                   {"even", "balanced"},
                                   {"inf,1,1", "balanced"}}) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(class_weights(text, train, 3), doctest::Contains(word), Error);
  }
}

TEST_CASE("texts of other labels than a model's, or fewer of them than logits, are not evaluated") {
  TokenizedSplit split;
  split.labels = {0, 1, 1};
  const Tensor logits = Tensor::from<float>({2, 1, 1, 2, 2, 1}, {3, 2});
  CHECK(evaluate(logits, split).accuracy() == doctest::Approx(2 / 3.0));
  for (const i64 label : {-100, -1, 2, 1'000'000}) {
    split.labels[2] = label;
    CHECK_THROWS_WITH_AS(evaluate(logits, split),
                         doctest::Contains(fmt::format("{} ", label).c_str()), Error);
  }
  split.labels = {0, 1};
  CHECK_THROWS_WITH_AS(evaluate(logits, split), doctest::Contains("[3, 2], targets [2]"), Error);
}

TEST_CASE("of the texts that were taken wrongly the worst are told, with the loss of each") {
  TokenizedSplit split;
  split.labels = {0, 1, 1, 0};
  const Tensor logits = Tensor::from<float>({2, 1, 1, 0, 3, 0, 0, 1}, {4, 2});
  const std::vector<WrongText> wrong = worst_errors(logits, split, 5);
  REQUIRE(wrong.size() == 3);
  CHECK(wrong[0].text == 2);
  CHECK(wrong[0].actual == 1);
  CHECK(wrong[0].predicted == 0);
  CHECK(wrong[0].loss == doctest::Approx(std::log(1 + std::exp(3))));
  CHECK(wrong[1].text == 1);
  CHECK(worst_errors(logits, split, 1).size() == 1);
}

TEST_CASE("a fingerprint knows texts, where each ends, and labels; the longest text is a batch") {
  TokenizedSplit split;
  for (i32 token = 0; token < 3000; ++token) split.tokens.push_back(token);
  split.offsets = {0, 3, 2503, 3000};
  split.labels = {0, 1, 0};
  CHECK(evaluation_batch(split).tokens == 2500);
  TokenizedSplit other = split, moved = split, labelled = split;
  other.tokens = {};
  for (i32 token = 1; token <= 3000; ++token) other.tokens.push_back(token);
  moved.offsets[1] = 4;
  labelled.labels[2] = 1;
  std::set<std::string> prints;
  for (const TokenizedSplit& each : {split, other, moved, labelled})
    prints.insert(fingerprint(each));
  CHECK(prints.size() == 4);
}

TEST_CASE("word dropout is another in each step, and with each seed") {
  nn::Classifier model(small_task().config);
  model.initialize(1);
  TrainingOptions options;
  options.word_dropout = 0.5;
  const Objective objective =
      classification(model, small_task().data, options, &small_task().tokenizer);
  const auto loss = [&](i64 step, u64 seed = 1) {
    const nn::Pass pass{.seed = seed, .step = step};
    return objective.loss(std::vector<i64>{0, 1, 2}, pass).loss.value().item();
  };
  CHECK(loss(1) == loss(1));
  CHECK(loss(1) != loss(2));
  CHECK(loss(1) != loss(1, 2));
}

TEST_CASE("weights and smoothing are in training's loss, whose batches add up to one large batch") {
  nn::Classifier model(small_task().config);
  model.initialize(1);
  const i64 labels = model.config.labels;
  std::string numbers = "3";
  std::vector<double> weights{3};
  for (i64 label = 1; label < labels; ++label) {
    numbers += fmt::format(",{}", 0.5 * static_cast<double>(label));
    weights.push_back(0.5 * static_cast<double>(label));
  }
  TrainingOptions options{.batch = BatchSize::of_texts(8)};
  options.class_weights = numbers;
  options.label_smoothing = 0.2;
  const Objective objective = classification(model, small_task().data, options);
  const nn::Pass pass{};  // no dropout
  const std::vector<i64> whole = {0, 1, 2, 3, 4, 5, 6}, first = {0, 1}, rest = {2, 3, 4, 5, 6};

  // The formula of core/ops/cross_entropy.hpp in double.
  const Batch batch = make_batch(small_task().data.train, whole);
  const Tensor logits = model(batch, pass).value();
  double sum = 0, weight = 0;
  for (i64 i = 0; i < batch.texts(); ++i) {
    const float* row = logits.data<float>() + i * labels;
    double total = 0, spread = 0;
    for (i64 c = 0; c < labels; ++c) total += std::exp(static_cast<double>(row[c]));
    const auto surprise = [&](i64 c) { return std::log(total) - row[c]; };
    for (i64 c = 0; c < labels; ++c) spread += weights[static_cast<std::size_t>(c)] * surprise(c);
    const i64 label = batch.labels.data<i64>()[i];
    const double own = weights[static_cast<std::size_t>(label)];
    sum += 0.8 * own * surprise(label) + 0.2 / static_cast<double>(labels) * spread;
    weight += own;
  }
  const auto loss = [&](const std::vector<i64>& texts) {
    const BatchLoss of = objective.loss(texts, pass);
    return std::pair{of.loss.value().item(), of.weight};
  };
  const auto [all, all_weight] = loss(whole);
  CHECK(all == doctest::Approx(sum / weight).epsilon(1e-6));
  CHECK(all_weight == doctest::Approx(weight));
  const auto [a, a_weight] = loss(first);
  const auto [b, b_weight] = loss(rest);
  CHECK((a * a_weight + b * b_weight) / (a_weight + b_weight) ==
        doctest::Approx(all).epsilon(1e-6));
  // On dev the loss stays that of a model without either.
  CHECK(objective.evaluate().loss == classification(model, small_task().data, {}).evaluate().loss);
}

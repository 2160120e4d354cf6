#include "train/pretraining.hpp"

#include <cmath>

#include "core/cpu/threads.hpp"
#include "core/files/safetensors.hpp"
#include "data/vocabulary_training.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"
#include "train/trainer.hpp"

using namespace minima;

namespace {

/// Sentences in which the last word follows from the first.
std::vector<Example> sentences(i64 count) {
  std::vector<Example> examples;
  for (i64 i = 0; i < count; ++i) {
    const char* words[][2] = {{"cows", "milk"}, {"hens", "eggs"}, {"bees", "honey"}};
    const auto& [animal, food] = words[i % 3];
    examples.push_back(
        {fmt::format("{} on the farm number {} give us {}", animal, i % 7, food), 0});
  }
  return examples;
}

struct Setting {
  Setting() {
    std::vector<std::string_view> texts;
    for (const Example& example : examples) texts.push_back(example.text);
    tokenizer.emplace(train_vocabulary(texts, {.size = 200}), Casing::uncased);
    data = {tokenize(*tokenizer, examples, 64), tokenize(*tokenizer, sentences(42), 64)};
    config = nn::preset("tiny");
    config.dropout = config.attention_dropout = 0;
    config.vocabulary = tokenizer->vocabulary().size();
  }
  std::vector<Example> examples = sentences(96);
  std::optional<Tokenizer> tokenizer;
  PretrainingData data;
  nn::EncoderConfig config;
};

struct Trained {
  std::unique_ptr<nn::MaskedLm> model;
  TrainingResult result;
};

Trained pretrained(const Setting& setting, TrainingOptions options,
                   const std::string& spec = "adamw:lr=5e-3") {
  auto model = std::make_unique<nn::MaskedLm>(setting.config);
  model->initialize(1);
  const Masking masking(setting.tokenizer->vocabulary(), {.rate = 0.3});
  Optimizer optimizer = make_optimizer(spec, decay_groups(model->parameters()));
  options.metric = "";
  Trainer trainer(masked_language_modelling(*model, setting.data, masking, options), optimizer,
                  options);
  TrainingResult result = trainer.run();
  return {std::move(model), std::move(result)};
}

}  // namespace

TEST_CASE("pre-training learns to tell hidden words, and the last model is kept") {
  const Setting setting;
  const auto [model, result] = pretrained(setting, {.epochs = 12, .batch = BatchSize::of_texts(8)});
  REQUIRE(result.evaluations.size() == 12);
  CHECK(result.best == std::size_t{11});
  const Evaluation &first = result.evaluations.front().dev, &last = result.dev();
  CHECK(last.loss < 0.6 * first.loss);
  CHECK(last.score("accuracy") > 0.6);
  CHECK(last.score("perplexity") == doctest::Approx(std::exp(last.loss)));
}

TEST_CASE("other tokens are hidden in each step") {
  const Setting setting;
  nn::MaskedLm model(setting.config);
  model.initialize(1);
  const Masking masking(setting.tokenizer->vocabulary(), {.rate = 0.3});
  const Objective objective = masked_language_modelling(model, setting.data, masking, {});
  const auto loss = [&](i64 step) {
    return objective.loss(std::vector<i64>{0, 1}, nn::Pass{.step = step}).loss.value().item();
  };
  CHECK(loss(1) == loss(1));
  CHECK(loss(1) != loss(2));
}

TEST_CASE("accumulated batches and any number of threads pre-train alike") {
  const Setting setting;
  const auto values = [](const Trained& trained) {
    std::vector<Tensor> all;
    for (const Parameter* parameter : trained.model->parameters()) all.push_back(parameter->value);
    return all;
  };
  TrainingOptions options{.epochs = 1, .batch = BatchSize::of_texts(8)};
  const int before = threads();
  set_threads(1);
  const auto one = values(pretrained(setting, options, "sgd:lr=0.1"));
  set_threads(3);
  const auto three = values(pretrained(setting, options, "sgd:lr=0.1"));
  set_threads(before);
  options.batch = BatchSize::of_texts(2);
  options.accumulate = 4;
  const auto accumulated = values(pretrained(setting, options, "sgd:lr=0.1"));
  for (std::size_t i = 0; i < one.size(); ++i) {
    test::check_close(three[i], one[i], {0, 0});
    test::check_close(accumulated[i], one[i], {1e-5, 1e-4});
  }
}

TEST_CASE("texts of unknown words alone are nothing to learn from, nor to be told by") {
  const Setting setting;
  const Masking masking(setting.tokenizer->vocabulary(), {});
  nn::MaskedLm model(setting.config);
  const auto objective = [&](const PretrainingData& data) {
    return masked_language_modelling(model, data, masking, {});
  };
  const TokenizedSplit unknown =
      tokenize(*setting.tokenizer, {{"\u4E2D\u6587", 0}, {"\u6587 \u4E2D", 0}}, 64);
  REQUIRE(unknown.tokens == [&] {
    TokenIds ids;
    const auto special = setting.tokenizer->vocabulary().special();
    for (int text = 0; text < 2; ++text)
      for (const i32 id : {special.cls, special.unk, special.unk, special.sep}) ids.push_back(id);
    return ids;
  }());
  CHECK(test::contains(test::error_of([&] {
                         objective({unknown, setting.data.dev});
                       }),
                       "the 2 training texts have no token to hide"));
  CHECK_FALSE(objective({setting.data.train, unknown}).evaluate);
  CHECK_FALSE(objective({setting.data.train, {}}).evaluate);
  CHECK(objective(setting.data).evaluate);
}

TEST_CASE("an evaluation hides a token in every text that has one, and tells of no loss without") {
  const Setting setting;
  nn::MaskedLm model(setting.config);
  model.initialize(1);
  const TokenizedSplit shorts =
      tokenize(*setting.tokenizer, {{"cows", 0}, {"milk", 0}, {"\u4E2D", 0}}, 64);
  for (const bool whole_words : {false, true}) {
    // So low a rate that nothing would be hidden else.
    const Masking rare(setting.tokenizer->vocabulary(), {.rate = 1e-9, .whole_words = whole_words});
    const Evaluation shown = evaluate(model, shorts, rare);
    CHECK(shown.loss > 1);
    CHECK(shown.score("perplexity") == doctest::Approx(std::exp(shown.loss)));
  }
  const TokenizedSplit unknown = tokenize(*setting.tokenizer, {{"\u4E2D", 0}}, 64);
  CHECK(test::contains(test::error_of([&] {
                         evaluate(model, unknown, Masking(setting.tokenizer->vocabulary(), {}));
                       }),
                       "the 1 texts have no token to hide"));
}

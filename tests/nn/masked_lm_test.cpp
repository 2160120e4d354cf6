/// The masked language model against transformers' (tests/golden/make_masked_lm.py).
#include "nn/models/masked_lm.hpp"

#include "core/files/file.hpp"
#include "nn/models/weights.hpp"
#include "nn/replayed_loss.hpp"
#include "tests/nn/reference_batch.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::check_close;

TEST_SUITE("golden") {
  TEST_CASE("a masked language model has the loss, logits and gradients of transformers'") {
    const std::filesystem::path folder = test::source_folder() / "tests/golden/model/masked_lm";
    for (const std::string name : {"distilbert", "bert"}) {
      CAPTURE(name);
      const auto config_file = folder / (name + ".json");
      nn::MaskedLm model(
          nn::EncoderConfig::from_json(read_json(config_file), config_file.string()));
      const auto tensors = folder / (name + ".safetensors");
      const ModelWeights weights(tensors);
      const nn::WeightMatch match =
          nn::match_weights(model.parameters(), weights, model.config.names());
      CHECK(match.anew.empty());
      nn::read_weights(model.parameters(), weights, match);
      const SafetensorsFile file(tensors);

      Batch batch = test::reference_batch(file, "batch.");
      batch.chosen = file.read("rows");
      batch.labels = file.read("targets");
      check_close(model.logits(batch).value(), file.read("logits"));
      const Variable loss = model.loss(batch, {.training = true});
      check_close(loss.value().reshape({1}), file.read("loss"));
      loss.backward();
      for (const Parameter* parameter : model.parameters()) {
        CAPTURE(parameter->name);
        check_close(parameter->gradient.to_dense(parameter->value.shape()),
                    file.read("grad." + parameter->name), {1e-5, 1e-4});
      }
    }
  }
}

TEST_CASE("a batch of which nothing is hidden has the loss 0 and changes no gradient") {
  nn::EncoderConfig config = nn::preset("tiny");
  config.vocabulary = 30;
  nn::MaskedLm model(config);
  model.initialize(1);
  const Tensor none = Tensor::empty({0}, DType::i64);
  const Batch batch{.tokens = Tensor::from(std::vector<i64>{2, 7, 3}),
                    .positions = Tensor::from(std::vector<i64>{0, 1, 2}),
                    .offsets = Tensor::from(std::vector<i64>{0, 3}),
                    .example_id = Tensor::from(std::vector<i64>{0}),
                    .labels = none,
                    .chosen = none};
  const Variable loss = model.loss(batch, {.training = true, .step = 1});
  CHECK(loss.value().item() == 0);
  loss.backward();
  for (const Parameter* parameter : model.parameters())
    if (parameter->gradient)
      for (const float x : parameter->gradient.values().span<float>()) CHECK(x == 0);
}

TEST_CASE("on the CPU a replayed loss is computed anew for every batch") {
  nn::EncoderConfig config = nn::preset("tiny");
  config.vocabulary = 30;
  nn::MaskedLm model(config);
  model.initialize(1);
  const auto loss_of = [&](const Batch& batch, const nn::Pass& pass) {
    return model.loss(batch, pass);
  };
  nn::ReplayedLoss replayed(model.parameters(), loss_of);
  for (i64 step = 1; step <= 3; ++step) {
    const Batch batch = completed({.tokens = Tensor::from(std::vector<i64>{2, 4 + step, 3}),
                                   .positions = Tensor::from(std::vector<i64>{0, 1, 2}),
                                   .offsets = Tensor::from(std::vector<i64>{0, 3}),
                                   .example_id = Tensor::from(std::vector<i64>{0}),
                                   .labels = Tensor::from(std::vector<i64>{7}),
                                   .chosen = Tensor::from(std::vector<i64>{1})});
    const BatchLayout layout(batch);
    const nn::Pass pass{.training = true, .seed = 1, .step = step};
    const Variable loss = replayed(layout, layout.numbers(batch), pass);
    CHECK(loss.value().item() == loss_of(batch, pass).value().item());
    loss.backward();
  }
  CHECK(replayed.recorded() == 0);
}

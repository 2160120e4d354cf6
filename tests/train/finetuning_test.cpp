#include "train/finetuning.hpp"

#include <algorithm>
#include <map>

#include "nn/models/classifier.hpp"
#include "tests/support.hpp"

using namespace minima;

namespace {

std::vector<std::string> frozen(nn::Classifier& model) {
  std::vector<std::string> names;
  for (const Parameter* parameter : model.parameters())
    if (!parameter->trainable) names.push_back(parameter->name);
  return names;
}

}  // namespace

TEST_CASE("freezing goes by whole parts of names: layer.1 is not layer.10") {
  nn::EncoderConfig config = nn::preset("tiny");
  config.layers = 12;
  config.vocabulary = 9;
  nn::Classifier model(config);
  freeze(model.parameters(), {"layer.1", "embeddings"});
  const std::vector<std::string> names = frozen(model);
  CHECK(names.size() == 16 + 4);
  for (const std::string& name : names)
    CHECK((name.starts_with("distilbert.transformer.layer.1.") ||
           name.starts_with("distilbert.embeddings.")));
}

TEST_CASE("freezing refuses what no name has, and leaves something to train") {
  nn::EncoderConfig config = nn::preset("tiny");
  config.vocabulary = 9;
  nn::Classifier model(config);
  CHECK_THROWS_WITH_AS(freeze(model.parameters(), {"layer.1"}),
                       "freeze: no parameter's name has the part 'layer.1'; the first is "
                       "'distilbert.embeddings.word_embeddings.weight'",
                       Error);
  CHECK_THROWS_WITH_AS(freeze(model.parameters(), {"distilbert", "pre_classifier", "classifier"}),
                       "freeze: nothing is left to train", Error);
  CHECK_THROWS_AS(freeze(model.parameters(), {"embeddings", "nowhere"}), Error);
  CHECK(std::ranges::all_of(model.parameters(), &Parameter::trainable));
}

TEST_CASE("each layer learns at its share of the rate of the layer above, in both architectures") {
  for (const auto architecture : {nn::Architecture::distilbert, nn::Architecture::bert}) {
    nn::EncoderConfig config = nn::preset("tiny");
    config.architecture = architecture;
    config.layers = 12;
    config.vocabulary = 9;
    nn::Classifier model(config);
    const std::string spec = "adamw:lr=0.5";
    const Optimizer optimizer = make_optimizer(
        spec, decay_by_layer(group_by_pattern(decay_groups(model.parameters(), spec),
                                              {{"classifier.weight", "lr=2:weight_decay=0.3"}}),
                             spec, 0.5));
    std::map<std::string, double> lr, weight_decay;
    const Json options = optimizer.options();
    for (const Json& group : options["groups"])
      for (const Json& name : group["parameters"]) {
        lr[name.get<std::string>()] = group["options"]["lr"].get<double>();
        weight_decay[name.get<std::string>()] = group["options"]["weight_decay"].get<double>();
      }
    CHECK(lr.size() == model.parameters().size());
    for (const auto& [name, rate] : lr) {
      CAPTURE(name);
      double expected = name.ends_with("classifier.weight") ? 2 : 0.5;  // a head's
      for (i64 layer = 0; layer < 12; ++layer)
        if (name.find(fmt::format(".layer.{}.", layer)) != std::string::npos)
          expected = 0.5 * std::pow(0.5, 12 - layer);
      if (name.find(".embeddings.") != std::string::npos) expected = 0.5 * std::pow(0.5, 13);
      CHECK(rate == test::about(expected));
    }
    CHECK(weight_decay["classifier.weight"] == 0.3);
    CHECK(weight_decay["classifier.bias"] == 0);
  }
}

TEST_CASE("layer decay says what it cannot multiply") {
  nn::EncoderConfig config = nn::preset("tiny");
  config.vocabulary = 9;
  nn::Classifier model(config);
  const std::vector<ParameterGroup> groups{{model.parameters(), ""}};
  CHECK_THROWS_WITH_AS(
      decay_by_layer(groups, "adafactor:relative_step=true", 0.9),
      "layer-decay: 'adafactor:relative_step=true' has no learning rate to multiply; give it one: "
      "lr=…, with relative_step=false",
      Error);
  CHECK_THROWS_WITH_AS(decay_by_layer(groups, "adamw:lr=1", 0),
                       "layer-decay is 0; it must be above 0 and at most 1", Error);
}

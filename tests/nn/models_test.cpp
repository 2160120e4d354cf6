#include <set>

#include "autograd/functions.hpp"
#include "core/cpu/threads.hpp"
#include "core/files/safetensors.hpp"
#include "nn/models/classifier.hpp"
#include "nn/models/weights.hpp"
#include "tests/data/files.hpp"
#include "tests/nn/reference_batch.hpp"
#include "tests/nn/small_config.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::nn;

namespace {

std::unique_ptr<Classifier> reference_model(const std::string& folder) {
  const auto config = test::reference(folder + "config.json");
  auto model =
      std::make_unique<Classifier>(EncoderConfig::from_json(read_json(config), config.string()));
  const ModelWeights weights(test::reference(folder + "model.safetensors"));
  const WeightMatch match = match_weights(model->parameters(), weights, model->config.names());
  CHECK(match.notes().empty());
  read_weights(model->parameters(), weights, match);
  return model;
}

/// The probabilities among the tokens of one text x [n, dim]: [heads, n, n]. The model's op keeps
/// none; these are composed of its projections.
Tensor attention_probabilities(const MultiHeadAttention& attention, const Tensor& x) {
  const auto heads = [&](const Linear& projection) {
    return transpose(reshape(projection(x), {x.size(0), attention.heads, -1}), 0, 1);
  };
  const Variable q = heads(attention.q_lin), k = heads(attention.k_lin);
  return softmax(matmul(q, k, Transpose::no, Transpose::yes) *
                 (1 / std::sqrt(static_cast<double>(q.size(-1)))))
      .value();
}

/// Without dropout.
EncoderConfig small_config() {
  EncoderConfig config = test::small_config();
  config.layers = 2;
  config.labels = 3;
  config.dropout = config.attention_dropout = config.classifier_dropout = 0;
  config.initializer_range = 0.3;
  return config;
}

/// Texts of the given lengths with tokens and ids that follow from `first_example`.
Batch texts(const std::vector<i64>& lengths, i64 first_example = 0) {
  std::vector<i64> tokens, positions, offsets{0}, examples, labels;
  for (std::size_t text = 0; text < lengths.size(); ++text) {
    const i64 example = first_example + static_cast<i64>(text);
    for (i64 i = 0; i < lengths[text]; ++i) {
      tokens.push_back(1 + (example * 7 + i * i * 3) % 49);
      positions.push_back(i);
    }
    offsets.push_back(static_cast<i64>(tokens.size()));
    examples.push_back(example);
    labels.push_back(example % 3);
  }
  return {Tensor::from(tokens), Tensor::from(positions), Tensor::from(offsets),
          Tensor::from(examples), Tensor::from(labels)};
}

std::map<std::string, Tensor> gradients(Classifier& model, const Batch& batch, const Pass& pass) {
  for (Parameter* parameter : model.parameters()) parameter->gradient.clear();
  cross_entropy(model(batch, pass), batch.labels).backward();
  std::map<std::string, Tensor> all;
  for (Parameter* parameter : model.parameters())
    all[parameter->name] = parameter->gradient.to_dense(parameter->value.shape());
  return all;
}

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE("logits, loss, hidden states and all gradients are those of transformers") {
    const auto compare = [](const std::string& folder) {
      if (!test::has_reference(
              folder, {"config.json", "model.safetensors", "forward_backward.safetensors"}))
        return;
      const auto model = reference_model(folder);
      const SafetensorsFile file(test::reference(folder + "forward_backward.safetensors"));
      const Batch batch = test::reference_batch(file, "batch.");

      const Variable logits = (*model)(batch);
      test::check_close(logits.value(), file.read("logits"));
      const Variable loss = cross_entropy(logits, batch.labels);
      test::check_close(loss.value().reshape({1}), file.read("loss"));
      loss.backward();
      for (const Parameter* parameter : model->parameters()) {
        CAPTURE(parameter->name);
        test::check_close(parameter->gradient.to_dense(parameter->value.shape()),
                          file.read("grad." + parameter->name), {1e-5, 1e-4});
      }
      if (file.contains("pooler_output"))
        test::check_close(model->features(batch).value(), file.read("pooler_output"));

      const auto states = model->encoder.hidden_states(batch, {});
      CHECK_FALSE(file.contains("hidden_states." + std::to_string(states.size())));
      for (std::size_t i = 0; i < states.size(); ++i) {
        CAPTURE(i);
        const Tensor padded = file.read("hidden_states." + std::to_string(i));
        test::check_close(states[i].value(),
                          test::kept_rows(padded, file.read("batch.attention_mask")));
      }
      for (std::size_t i = 0; i < model->encoder.layer.size(); ++i)
        for (i64 text = 0; text < batch.texts(); ++text) {
          CAPTURE(i);
          CAPTURE(text);
          const i64 begin = batch.offsets.data<i64>()[text],
                    end = batch.offsets.data<i64>()[text + 1];
          const Tensor kept = batch.positions.rows(begin, end),
                       padded = file.read("attentions." + std::to_string(i)).rows(text, text + 1);
          test::check_close(attention_probabilities(model->encoder.layer[i]->attention,
                                                    states[i].value().rows(begin, end)),
                            ops::index_select(ops::index_select(padded, 2, kept), 3, kept)
                                .reshape({padded.size(1), end - begin, end - begin}));
        }
    };
    for (const std::string folder : {"model/distilbert/", "model/bert/"})
      test::try_case(folder, [&] { compare(folder); });
  }
}

TEST_CASE(
    "the last layer computed for the first tokens only gives the logits and gradients of the full "
    "computation") {
  EncoderConfig config = small_config();
  Classifier model(config);
  model.initialize(3);
  const Batch batch = texts({5, 1, 12, 7});
  const auto short_cut = gradients(model, batch, {});

  // The full computation: all rows through every block, then the first rows picked.
  for (Parameter* parameter : model.parameters()) parameter->gradient.clear();
  const Variable all = model.encoder(batch, {});
  const Variable first = index_select(all, 0, batch.offsets.rows(0, batch.texts()));
  const Variable logits = model.classifier(relu(model.pre_classifier(first)));
  test::check_close(model(batch).value(), logits.value());
  cross_entropy(logits, batch.labels).backward();
  for (Parameter* parameter : model.parameters()) {
    CAPTURE(parameter->name);
    test::check_close(short_cut.at(parameter->name),
                      parameter->gradient.to_dense(parameter->value.shape()), {1e-6, 1e-4});
  }
}

TEST_CASE("hidden states are of the precision asked for, as the output is") {
  nn::EncoderConfig config = nn::preset("tiny");
  config.vocabulary = 9;
  nn::Classifier model(config);
  model.initialize(1);
  const Batch batch{.tokens = test::ids({1, 2, 3}),
                    .positions = test::ids({0, 1, 2}),
                    .offsets = test::ids({0, 3}),
                    .example_id = test::ids({0}),
                    .labels = test::ids({0})};
  for (const DType precision : {DType::f32, DType::bf16}) {
    const nn::Pass pass{.precision = precision};
    const Tensor output = model.encoder(batch, pass).value(),
                 last = model.encoder.hidden_states(batch, pass).back().value();
    CHECK(test::same_bits(output, last));
  }
}

TEST_CASE("a text's logits do not depend on what it is packed with") {
  EncoderConfig config = small_config();
  config.dropout = config.attention_dropout = config.classifier_dropout = 0.3;
  for (const Pooling pooling : {Pooling::first, Pooling::mean}) {
    config.pooling = pooling;
    Classifier model(config);
    model.initialize(5);
    const Pass pass{true, 11, 4};
    const Tensor together = model(texts({5, 1, 12, 7}, 20), pass).value();
    const Tensor alone = model(texts({12}, 22), pass).value();
    // The token ids follow from the example id, so example 22 is the same text both times; its
    // dropout masks too.
    test::check_close(alone, together.rows(2, 3));
    CHECK_FALSE(test::same_bits(model(texts({12}, 22), {true, 11, 5}).value(), alone));
    CHECK_FALSE(test::same_bits(model(texts({12}, 22)).value(), alone));
  }
}

TEST_CASE("gradients have the same bits for any number of threads") {
  EncoderConfig config = small_config();
  config.dropout = config.attention_dropout = 0.2;
  Classifier model(config);
  model.initialize(5);
  const Batch batch = texts({9, 16, 3, 16, 11, 2, 14, 8, 1, 16});
  const int before = threads();
  set_threads(1);
  const auto one = gradients(model, batch, {true, 1, 2});
  for (int n : {2, 3}) {
    set_threads(n);
    for (const auto& [name, gradient] : gradients(model, batch, {true, 1, 2})) {
      CAPTURE(name);
      CHECK(test::same_bits(gradient, one.at(name)));
    }
  }
  set_threads(before);
}

TEST_CASE("initial weights follow from the seed and the parameter's name alone") {
  EncoderConfig config = small_config();
  Classifier two(config);
  config.layers = 3;
  Classifier three(config);
  two.initialize(9);
  three.initialize(9);
  CHECK(test::same_bits(two.classifier.weight.value, three.classifier.weight.value));
  CHECK_FALSE(test::same_bits(two.encoder.layer[0]->attention.q_lin.weight.value,
                              two.encoder.layer[1]->attention.q_lin.weight.value));
  two.initialize(10);
  CHECK_FALSE(test::same_bits(two.classifier.weight.value, three.classifier.weight.value));
}

TEST_CASE("distilbert-base-cased with two labels has 65,783,042 parameters in 104 tensors") {
  EncoderConfig config = preset("distilbert-base");
  config.vocabulary = 28996;
  Classifier model(config);
  CHECK(model.parameter_count() == 65'783'042);
  CHECK(model.parameters().size() == 104);
  CHECK(model.parameters()[3]->name == "distilbert.embeddings.LayerNorm.bias");
  CHECK(model.parameters()[4]->name == "distilbert.transformer.layer.0.attention.q_lin.weight");
}

TEST_CASE("bert-base with two labels has 109,483,778 parameters in 201 tensors") {
  EncoderConfig config;
  config.architecture = Architecture::bert;
  config.layers = 12;
  Classifier model(config);
  CHECK(model.parameter_count() == 109'483'778);
  CHECK(model.parameters().size() == 201);
  const auto names = [&] {
    std::set<std::string> all;
    for (const Parameter* parameter : model.parameters()) all.insert(parameter->name);
    return all;
  }();
  for (const char* name :
       {"bert.embeddings.token_type_embeddings.weight",
        "bert.encoder.layer.11.attention.self.query.bias",
        "bert.encoder.layer.0.attention.output.LayerNorm.weight",
        "bert.encoder.layer.0.intermediate.dense.weight",
        "bert.encoder.layer.0.output.LayerNorm.bias", "bert.pooler.dense.weight"})
    CHECK(names.contains(name));
}

TEST_CASE("BERT drops behind attention too, and no two layers share a mask") {
  EncoderConfig config = small_config();
  config.architecture = Architecture::bert;
  config.dropout = config.attention_dropout = config.attention_output_dropout = 0.5;
  Classifier model(config);
  model.initialize(3);
  const Batch batch = texts({5, 3});
  const Tensor first = model(batch, {true, 1, 1}).value();
  CHECK_FALSE(test::same_bits(first, model(batch).value()));
  std::set<u64> keys;
  for (const TransformerBlock* block : model.encoder.layer)
    for (const Dropout* dropout :
         {&block->attention.dropout, &block->attention.output_dropout, &block->ffn.dropout})
      CHECK(keys.insert(dropout->site({true, 1, 1}).key).second);
}

TEST_CASE("each dropout has its part in training, and none outside of it") {
  EncoderConfig none = small_config();
  none.architecture = Architecture::bert;
  none.dropout = none.attention_dropout = none.attention_output_dropout = none.classifier_dropout =
      0;
  const Batch batch = texts({5, 3});
  const auto logits = [&](const EncoderConfig& config, const Pass& pass) {
    Classifier model(config);
    model.initialize(3);
    return model(batch, pass).value();
  };
  const Tensor plain = logits(none, {true, 1, 1});
  using Rate = double EncoderConfig::*;
  for (const Rate rate :
       {Rate{&EncoderConfig::dropout}, Rate{&EncoderConfig::attention_dropout},
        Rate{&EncoderConfig::attention_output_dropout}, Rate{&EncoderConfig::classifier_dropout}}) {
    EncoderConfig config = none;
    config.*rate = 0.5;
    CHECK_FALSE(test::same_bits(logits(config, {true, 1, 1}), plain));
    CHECK(test::same_bits(logits(config, {false, 1, 1}), plain));
  }
  none.dropout = 0.5;  // behind the embeddings' norm: what is dropped there is 0
  Classifier model(none);
  model.initialize(3);
  const Tensor embedded = model.encoder.hidden_states(batch, {true, 1, 1}).front().value();
  CHECK(std::ranges::count(embedded.span<float>(), 0.0f) > embedded.size() / 4);
}

TEST_CASE("a dropout without a name, whose mask others would share, is refused") {
  const Dropout alone(0.5);
  CHECK(alone.site({}).rate == 0);  // none is drawn
  CHECK_THROWS_WITH_AS(alone.site({.training = true}), doctest::Contains("has no name"), Error);
}

TEST_CASE("an encoder without layers, which could ask no queries, is refused") {
  EncoderConfig config = small_config();
  config.layers = 0;
  CHECK_THROWS_WITH_AS(Encoder{config}, "encoder: 0 layers; it needs at least one", Error);
}

TEST_CASE("a text's token types count where the model has them, and none means all 0") {
  EncoderConfig config = small_config();
  Batch plain = texts({5, 3}), typed = plain;
  typed.token_types = Tensor::from(std::vector<i64>{0, 0, 0, 1, 1, 0, 0, 1});
  Batch zeros = plain;
  zeros.token_types = Tensor::zeros({8}, DType::i64);
  for (const Architecture architecture : {Architecture::distilbert, Architecture::bert}) {
    config.architecture = architecture;
    Classifier model(config);
    model.initialize(3);
    const auto same = [&](const Batch& a, const Batch& b) {
      return test::same_bits(model(a).value(), model(b).value());
    };
    CHECK(same(plain, zeros));
    CHECK(same(plain, typed) == (architecture == Architecture::distilbert));
  }
}

TEST_CASE("a config of very many labels is written and read in no more time than its names take") {
  EncoderConfig config = small_config();
  config.labels = 100'000;
  const Json json = config.to_json();
  CHECK(json["label2id"].back() == config.labels - 1);
  CHECK(EncoderConfig::from_json(json, "c").label_names == config.names_of_labels());
}

TEST_CASE("a config survives the way to JSON and back, and a senseless one is refused by key") {
  for (const Architecture architecture : {Architecture::distilbert, Architecture::bert}) {
    EncoderConfig config = small_config();
    config.architecture = architecture;
    const ArchitectureNames& names = config.names();
    config.label_names = {"billing", "delivery", "other"};
    config.pooling = Pooling::mean;
    config.pad_token = 7;
    config.classifier_dropout = 0.25;
    if (architecture == Architecture::bert) {
      config.attention_output_dropout = config.dropout = 0.125;
      config.token_types = 3;
      config.layer_norm_eps = 1e-7;
    }
    const Json json = config.to_json();
    const EncoderConfig again = EncoderConfig::from_json(json, "c");
    CHECK(again.to_json() == json);
    CHECK(again.attention_output_dropout == config.attention_output_dropout);
    CHECK(again.layer_norm_eps == config.layer_norm_eps);
    CHECK(again.pad_token == config.pad_token);
    // What Transformers has no key for.
    EncoderConfig own = config;
    own.attention_output_dropout = 0.0625, own.layer_norm_eps = 1e-5;
    const EncoderConfig same = EncoderConfig::from_json(own.to_json(), "c");
    CHECK(same.attention_output_dropout == 0.0625);
    CHECK(same.layer_norm_eps == 1e-5);
    Json of_numbers = json;
    of_numbers["id2label"] = {{"0", 5}, {"1", -1}, {"2", "5 stars"}};
    CHECK(EncoderConfig::from_json(of_numbers, "c").label_names ==
          std::vector<std::string>{"5", "-1", "5 stars"});
    CHECK(json["minima_warning"].get<std::string>().find("transformers") != std::string::npos);
    config.pooling = Pooling::first;
    CHECK_FALSE(config.to_json().contains("minima_warning"));
    const auto error_of = [&](const std::string& key, Json value) {
      Json wrong = json;
      wrong[key] = std::move(value);
      return test::error_of([&] { EncoderConfig::from_json(wrong, "config.json"); });
    };
    const std::string dim = names.dim, dropout = names.dropout;
    CHECK(error_of(names.heads, 5) == "config.json: 5 heads do not divide " + dim + " 24");
    CHECK(error_of(dim, -1) ==
          "config.json: '" + dim + "' is -1; it must be a whole number from 1 to 2147483648");
    CHECK(error_of(dim, Json()) == "config.json: has no '" + dim + "'");
    CHECK(error_of(dropout, 1.5) ==
          "config.json: '" + dropout + "' is 1.5; a dropout rate is below 1");
    CHECK(error_of("model_type", "gpt2") ==
          "config.json: model_type is 'gpt2'; this program reads 'distilbert' and 'bert'");
    CHECK(
        error_of("pad_token_id", 300) ==
        "config.json: 'pad_token_id' is 300; it must be a token of the vocabulary of 300, or null");
    CHECK(error_of(names.activation, "relu") == "config.json: '" + std::string(names.activation) +
                                                    "' is \"relu\"; this program has 'gelu'");
    CHECK(error_of("id2label", Json::object({{"1", "a"}})) ==
          "config.json: 'id2label' has no name for 0; its keys must be 0 to 0");
    CHECK(error_of("id2label", Json::object({{"0", "a"}, {"1", "a"}})) ==
          "config.json: 'id2label' has the name 'a' twice");
  }
}

TEST_CASE(
    "loading names every tensor that is missing or of another shape, and then changes nothing") {
  Classifier model(small_config());
  model.initialize(1);
  std::map<std::string, Tensor> tensors;
  for (const Parameter* parameter : model.parameters())
    tensors[parameter->name] = Tensor::zeros(parameter->value.shape());
  tensors.erase("classifier.bias");
  tensors["classifier.weight"] = Tensor::zeros({4, 24});
  CHECK_THROWS_WITH_AS(load_parameters(model.parameters(), tensors),
                       "load_parameters: the tensors do not fit the model:\n"
                       "  'classifier.weight' is [4, 24] in the file, [3, 24] in the model\n"
                       "  'classifier.bias' [3] is missing",
                       Error);
  CHECK(model.classifier.weight.value.span<float>()[0] != 0);
}

TEST_CASE("weights go by name, and are floats") {
  struct Twice : Module {
    Twice() : first(child<Linear>("a", 2, 2, 0.1)), second(child<Linear>("a", 2, 2, 0.1)) {}
    Linear &first, &second;
  };
  CHECK_THROWS_WITH_AS(Twice(), doctest::Contains("two children are named 'a'"), Error);
  struct Twofold : Module {  // below a child that is no level of its own
    Twofold() { child<Linear>("", 2, 2, 0.1), param("bias", {2}, Init::zeros()); }
  };
  CHECK_THROWS_WITH_AS(Twofold(), doctest::Contains("two parameters are named 'bias'"), Error);
  struct Dropping : Module {
    Dropping() { child<Dropout>("dropout", 0.5); }
  };
  struct SharedMask : Dropping {
    SharedMask() { child<Dropping>(""); }
  };
  CHECK_THROWS_WITH_AS(SharedMask(), doctest::Contains("two children are named 'dropout'"), Error);
  struct SharedMaskOfParent : Module {
    SharedMaskOfParent() { child<Dropout>("", 0.5), child<Dropout>("", 0.1); }
  };
  CHECK_THROWS_WITH_AS(SharedMaskOfParent(),
                       doctest::Contains("two children that draw have no name"), Error);
  struct Plain : Module {};
  struct Plains : Module {
    Plains() { child<Plain>(""), child<Plain>(""), child<Dropout>("", 0.5); }
  };
  CHECK_NOTHROW(Plains());
  struct Patient : Module {  // what is refused is not there
    Patient() {
      param("a", {2}, Init::zeros());
      CHECK_THROWS_AS(param("a", {3}, Init::zeros()), Error);
    }
  };
  CHECK(Patient().parameter_count() == 2);
  Linear linear(2, 1, 0.1);
  CHECK_THROWS_WITH_AS(
      load_parameters(linear.parameters(), {{"weight", Tensor::zeros({1, 2}, DType::i64)},
                                            {"bias", Tensor::zeros({1})}}),
      doctest::Contains("'weight' is i64; weights are f64, f32, bf16 or f16"), Error);
}

TEST_CASE("a tensor that a module has no use for may be of a type that cannot be read") {
  const test::Folder folder;
  const std::filesystem::path file = folder.path() + "/quantized.safetensors";
  const auto of_type = [](const char* name, const Shape& shape, DType dtype, const char* type) {
    return TensorSource{name, dtype, shape, [=] { return Tensor::full(shape, 2, dtype); }, type};
  };
  save_safetensors(file,
                   {of_type("weight", {1, 2}, DType::f32, ""), of_type("bias", {1}, DType::f32, ""),
                    of_type("scale", {3}, DType::u8, "I8")});
  Linear linear(2, 1, 0.1);
  CHECK_NOTHROW(check_parameters(linear.parameters(), file));
  CHECK(load_parameters(linear.parameters(), file) == std::vector<std::string>{"scale"});
  CHECK(linear.weight.value.data<float>()[1] == 2);
  save_safetensors(file, {of_type("weight", {1, 2}, DType::u8, "F8_E4M3"),
                          of_type("bias", {1}, DType::f32, "")});
  CHECK_THROWS_WITH_AS(load_parameters(linear.parameters(), file),
                       doctest::Contains("'weight' is F8_E4M3; weights are f64"), Error);
}

TEST_CASE("a module of one's own is saved and loaded by the names of its parameters") {
  const test::Folder folder;
  const std::filesystem::path file = folder.path() + "/net.safetensors";
  struct Net : Module {
    explicit Net(i64 dim)
        : norm(child<LayerNorm>("norm", 4, 1e-5)), out(child<Linear>("out", 4, dim, 0.1)) {}
    LayerNorm& norm;
    Linear& out;
  };
  Net saved(6), loaded(6), wider(7);
  saved.initialize(1);
  loaded.initialize(2);
  save_parameters(file, saved.parameters());
  CHECK(load_parameters(loaded.parameters(), file).empty());
  for (std::size_t i = 0; i < saved.parameters().size(); ++i)
    CHECK(test::same_bits(loaded.parameters()[i]->value, saved.parameters()[i]->value));
  CHECK_THROWS_WITH_AS(load_parameters(wider.parameters(), file),
                       doctest::Contains((file.string() + ": load_parameters").c_str()), Error);
  CHECK(load_parameters({saved.parameters()[0]}, file).size() == 3);  // the others
}

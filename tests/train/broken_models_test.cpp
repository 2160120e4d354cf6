/// Model directories and optimizer states that break a rule: each is answered by one error that
/// names the file, the place and the rule. (The rules of safetensors itself and of an index of
/// shards: tests/core.)
#include "core/files/checksum.hpp"
#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "optim/optimizer.hpp"
#include "tests/data/files.hpp"
#include "tests/nn/small_config.hpp"
#include "tests/support.hpp"
#include "train/model_directory.hpp"

using namespace minima;
using test::contains;
using test::error_of;

namespace {

nn::EncoderConfig config_of(nn::Architecture architecture) {
  nn::EncoderConfig config = test::small_config({.vocabulary = 12,
                                                 .positions = 8,
                                                 .dim = 8,
                                                 .heads = 2,
                                                 .hidden = 12,
                                                 .layers = 2,
                                                 .labels = 2});
  config.architecture = architecture;
  config.label_names = {"no", "yes"};
  return config;
}

/// A whole model directory, to be broken.
struct Directory {
  explicit Directory(nn::Architecture architecture = nn::Architecture::distilbert)
      : model(config_of(architecture)) {
    model.initialize(1);
    save_model(path(),
               Tokenizer(Vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c",
                                     "##a", "##b", "##c", "d"}),
                         Casing::uncased),
               config_of(architecture).positions, model);
    optimizer.step();
    optimizer.save(path() / "optimizer.safetensors");
  }
  std::filesystem::path path() const { return std::filesystem::path(folder.path()) / "model"; }

  /// Changes one key of config.json; a discarded value removes it.
  void set(const std::string& key, const Json& value) const {
    Json config = read_json(path() / "config.json");
    if (value.is_discarded())
      config.erase(key);
    else
      config[key] = value;
    write_file(path() / "config.json", config.dump());
  }
  /// Writes model.safetensors anew with other tensors.
  void change_tensors(const std::function<void(std::vector<NamedTensor>&)>& change) const {
    rewrite("model.safetensors", change, [](auto&) {});
  }
  void rewrite(const std::string& name,
               const std::function<void(std::vector<NamedTensor>&)>& change,
               const std::function<void(std::map<std::string, std::string>&)>& describe) const {
    std::vector<NamedTensor> tensors;
    std::map<std::string, std::string> metadata;
    {
      const SafetensorsFile file(path() / name);
      for (const auto& [key, entry] : file.entries()) tensors.push_back({key, file.read(key)});
      metadata = file.metadata();
    }
    change(tensors);
    describe(metadata);
    save_safetensors(path() / name, tensors, metadata);
  }

  test::Folder folder;
  nn::Classifier model;
  Optimizer optimizer = make_optimizer("adamw", model.parameters());
};

/// What is done to a directory, and the words of the answer: the file first.
struct Case {
  std::function<void(const Directory&)> damage;
  std::vector<std::string> words;
};

void check_refused(const std::vector<Case>& cases, nn::Architecture architecture,
                   const std::function<void(Directory&)>& load) {
  for (const auto& [damage, words] : cases) {
    Directory directory(architecture);
    CHECK(error_of([&] { load(directory); }) == "");
    damage(directory);
    const std::string message = error_of([&] { load(directory); });
    CAPTURE(message);
    CHECK(contains(message, directory.folder.path()));
    CHECK_FALSE(contains(message, "\n"));
    for (const std::string& word : words) {
      CAPTURE(word);
      CHECK(contains(message, word));
    }
  }
}

void load_directory(Directory& directory) { (void)load_model(directory.path()); }

/// config.json with one key changed.
Case config_case(const std::string& key, const Json& value, const std::vector<std::string>& words) {
  Case result{[key, value](const Directory& directory) { directory.set(key, value); },
              {"config.json", "'" + key + "'"}};
  result.words.insert(result.words.end(), words.begin(), words.end());
  return result;
}
Case file_case(const std::string& file, const std::string& bytes,
               const std::vector<std::string>& words) {
  Case result{
      [file, bytes](const Directory& directory) { write_file(directory.path() / file, bytes); },
      {file}};
  result.words.insert(result.words.end(), words.begin(), words.end());
  return result;
}

const Json kAbsent(Json::value_t::discarded);
constexpr const char* kWhole = "a whole number from 1 to 2147483648";

}  // namespace

TEST_CASE("a broken config.json is refused by key and rule") {
  for (const nn::Architecture architecture :
       {nn::Architecture::distilbert, nn::Architecture::bert}) {
    const nn::ArchitectureNames& names = nn::names_of(architecture);
    std::vector<Case> cases{
        file_case("config.json", "", {"not valid JSON"}),
        file_case("config.json", "[]", {"not a JSON object"}),
        file_case("config.json", "{\"model_type\": \"bert\"", {"not valid JSON"}),
        file_case("config.json", "{\"a\": 1, \"a\": 1}", {"'a'", "twice"}),
        file_case("config.json", "{\"a\": \"\xff\"}", {"not valid JSON"}),
        file_case("config.json", std::string("{}\0{}", 5), {"NUL"}),
        file_case("config.json", std::string(1000, '['), {"nested deeper than 256"}),
        config_case("model_type", kAbsent, {"has no"}),
        config_case("model_type", 7, {"a string"}),
        {[](const Directory& d) { d.set("model_type", "roberta"); },
         {"config.json", "model_type is 'roberta'", "'bert'"}},
        config_case("id2label", Json::array(), {"an object of names"}),
        config_case("id2label", Json::object(), {"an object of names"}),
        config_case("id2label", {{"0", "no"}, {"2", "yes"}},
                    {"no name for 1; its keys must be 0 to 1"}),
        config_case("num_labels", 3, {"is 3", "'id2label' has 2 names"}),
        config_case("id2label", {{"0", "no"}, {"1", 7.5}},
                    {"has 7.5 for 1; a name is a string, or a whole number"}),
        config_case("id2label", {{"0", "no"}, {"1", Json()}}, {"has null for 1"}),
        config_case("id2label", {{"0", "7"}, {"1", 7}}, {"'7' twice"}),
        config_case("id2label", {{"0", "no"}, {"1", "no"}}, {"'no' twice"}),
        config_case("id2label", {{"0", "no"}, {"1", "y\nes"}}, {"'y\\nes'", "on one line"}),
        config_case("problem_type", "regression", {"\"regression\"", "take 'problem_type' out"}),
        config_case("problem_type", "multi_label_classification", {"single_label_classification"}),
        config_case("pad_token_id", 12, {"a token of the vocabulary of 12"}),
        config_case("pad_token_id", -1, {"a token of the vocabulary"}),
        config_case("pad_token_id", "0", {"a token of the vocabulary"}),
        config_case("initializer_range", -0.1, {"a number from 0"}),
        config_case("initializer_range", "0.1", {"a number from 0"}),
        config_case("minima_pooling", "max", {"first or mean"}),
        config_case("minima_lower_case", 1, {"true or false"}),
        config_case(names.activation, "relu", {"\"relu\"", "'gelu'"}),
        config_case(names.activation, "gelu_new", {"\"gelu_new\"", "'gelu'"}),
        {[&](const Directory& d) { d.set(names.heads, 3); },
         {"config.json", "3 heads do not divide", names.dim, "8"}},
        {[](const Directory& d) {
           d.set("id2label", kAbsent);
           d.set("num_labels", 1 << 21);
         },
         {"config.json", "'num_labels'", "2097152"}},
    };
    for (const char* key : {"vocab_size", "max_position_embeddings", names.dim, names.heads,
                            names.layer_count, names.hidden}) {
      cases.push_back(config_case(key, kAbsent, {"has no"}));
      for (const Json& value : {Json(0), Json(-1), Json(8.5), Json("8"), Json(u64{1} << 63)})
        cases.push_back(config_case(key, value, {value.dump(), kWhole}));
    }
    for (const char* key : {names.dropout, names.attention_dropout, names.classifier_dropout}) {
      cases.push_back(config_case(key, 1, {"below 1"}));
      cases.push_back(config_case(key, -0.5, {"a number from 0"}));
    }
    if (architecture == nn::Architecture::bert) {
      cases.push_back(config_case("position_embedding_type", "relative_key", {"'absolute'"}));
      cases.push_back(config_case("is_decoder", true, {"encoders"}));
      cases.push_back(config_case("add_cross_attention", true, {"cross-attention"}));
      cases.push_back(config_case("type_vocab_size", 0, {kWhole}));
      cases.push_back(config_case("layer_norm_eps", -1, {"a number from 0"}));
    } else {
      cases.push_back(config_case("sinusoidal_pos_embds", true, {"learned positions"}));
    }
    CHECK(cases.size() >= 60);
    check_refused(cases, architecture, load_directory);
  }
}

TEST_CASE("a model directory whose files do not fit one another is refused by file and tensor") {
  const std::string lin1 = "distilbert.transformer.layer.1.ffn.lin1.weight";
  std::vector<Case> cases{
      {[](const Directory& d) { std::filesystem::remove_all(d.path()); },
       {"model: is not a folder; a model directory holds config.json"}},
      {[](const Directory& d) { std::filesystem::remove(d.path() / "config.json"); },
       {"model: has no config.json; a model directory holds config.json"}},
      {[](const Directory& d) {
         std::filesystem::remove(d.path() / "config.json");
         std::filesystem::create_directory(d.path() / "final");
       },
       {"is a run's folder", "model/final"}},
      {[](const Directory& d) {
         d.set("id2label", {{"0", "score"}});
       },
       {"one label"}},
      {[](const Directory& d) { std::filesystem::remove(d.path() / "model.safetensors"); },
       {"has no model.safetensors"}},
      file_case("tokenizer_config.json", "{\"model_max_length\": 1}",
                {"'model_max_length'", "a whole number from 2"}),
      file_case("tokenizer_config.json", "{\"model_max_length\": 2.5}",
                {"'model_max_length' is 2.5", "a whole number from 2"}),
      file_case("tokenizer_config.json", "{\"model_max_length\": \"512\"}",
                {"'model_max_length'", "a whole number from 2"}),
      {[](const Directory& d) { d.set("vocab_size", 13); },
       {"model.safetensors", "'distilbert.embeddings.word_embeddings.weight' is [12, 8]",
        "config.json asks for [13, 8]"}},
      {[](const Directory& d) { d.set("vocab_size", 11); },
       {"model: the tokenizer has 12 entries, config.json has 'vocab_size' 11"}},
      {[](const Directory& d) { d.set("max_position_embeddings", 9); },
       {"model.safetensors", "position_embeddings", "config.json asks for [9, 8]"}},
      {[](const Directory& d) { d.set("n_layers", 3); },
       {"model.safetensors", "layer.2.ffn.lin1.weight", "missing"}},
      {[](const Directory& d) { d.set("hidden_dim", 13); },
       {"model.safetensors", "layer.1.ffn.lin1.weight", "config.json asks for [13, 8]"}},
      {[](const Directory& d) {
         d.set("id2label", {{"0", "a"}, {"1", "b"}, {"2", "c"}});
       },
       {"has no head for 3 labels", "classifier.bias", "[2] in the checkpoint, [3] here"}},
      {[&](const Directory& d) {
         d.change_tensors([&](auto& tensors) {
           std::erase_if(tensors, [&](const NamedTensor& t) { return t.name == lin1; });
         });
       },
       {"model.safetensors", "'" + lin1 + "'", "missing"}},
      {[&](const Directory& d) {
         d.change_tensors([&](auto& tensors) {
           for (NamedTensor& t : tensors)
             if (t.name.ends_with("q_lin.bias")) t.tensor = Tensor::zeros({3});
         });
       },
       {"model.safetensors", "q_lin.bias' is [3] and must be [8]"}},
      {[&](const Directory& d) {
         d.change_tensors([&](auto& tensors) {
           for (NamedTensor& t : tensors)
             if (t.name == "classifier.bias") t.tensor = Tensor::zeros({2}, DType::i32);
         });
       },
       {"model.safetensors",
        "'classifier.bias' is of type I32; F32 is needed, or another floating"}},
      {[&](const Directory& d) {
         d.change_tensors([&](auto& tensors) {
           for (NamedTensor& t : tensors)
             if (t.name == lin1) t.tensor.template data<float>()[7] = NAN;
         });
       },
       {"model.safetensors: tensor '" + lin1 + "' is not finite at element 7"}},
      {[&](const Directory& d) {
         d.change_tensors([&](auto& tensors) {
           std::erase_if(tensors,
                         [&](const NamedTensor& t) { return t.name == "classifier.bias"; });
         });
       },
       {"has no head for 2 labels", "classifier.bias: not in the checkpoint"}},
      {[&](const Directory& d) {
         d.change_tensors([&](auto& tensors) {
           tensors.push_back({"embeddings.LayerNorm.beta", Tensor::zeros({8})});
         });
       },
       {"model.safetensors", "'embeddings.LayerNorm.beta'", "both the model's"}},
      {[](const Directory& d) {
         const auto file = d.path() / "model.safetensors";
         std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
       },
       {"model.safetensors", "do not lie in the"}},
  };
  check_refused(cases, nn::Architecture::distilbert, load_directory);
}

TEST_CASE("a broken optimizer.safetensors is refused by file and rule, and changes nothing") {
  const auto describe = [](const std::string& key, const std::string& value) {
    return [=](const Directory& d) {
      d.rewrite(
          "optimizer.safetensors", [](auto&) {},
          [&](auto& metadata) {
            if (value.empty())
              metadata.erase(key);
            else
              metadata[key] = value;
          });
    };
  };
  const std::string file = "optimizer.safetensors";
  const auto of_first_slot = [&](const Json& slot) {
    return [&, slot](const Directory& d) {
      const SafetensorsFile whole(d.path() / file);
      const Json slots = {{whole.entries().begin()->first, slot}};
      const std::string options = Json({{"slots", slots}}).dump();
      Checksum sum;
      sum.add(whole.metadata().at("optimizer") + options);
      for (const auto& [name, entry] : whole.entries()) {
        const Tensor tensor = whole.read(name);
        sum.add(name), sum.add(tensor.raw(), tensor.bytes());
      }
      describe("options", options)(d), describe("checksum", sum.digits())(d);
    };
  };
  std::vector<Case> cases{
      {[&](const Directory& d) { std::filesystem::remove(d.path() / file); },
       {file, "cannot be opened"}},
      file_case(file, "", {"at least 8"}),
      file_case(file, "12345678", {"at most 100000000"}),
      {describe("format", ""), {file, "no 'format'"}},
      {describe("format", "pt"), {file, "'pt'"}},
      {describe("optimizer", ""), {file, "no 'optimizer'"}},
      {describe("options", ""), {file, "no 'options'"}},
      {describe("checksum", ""), {file, "no 'checksum'"}},
      {describe("checksum", "0"), {file, "checksum"}},
      {describe("optimizer", "sgd"), {file, "checksum"}},
      {describe("options", "{}"), {file, "checksum"}},
      {of_first_slot(5), {file, "is stored as 5 there"}},
      {of_first_slot(Json::object()), {file, "is stored as {} there"}},
      {of_first_slot({{"storage", "fp32"}, {"block_size", 7}}),
       {file, "is stored as {\"storage\":\"fp32\",\"block_size\":7} there"}},
      {[&](const Directory& d) {
         d.rewrite(
             file, [](auto& tensors) { tensors.pop_back(); }, [](auto&) {});
       },
       {file, "checksum"}},
      {[&](const Directory& d) {
         d.rewrite(
             file, [](auto& tensors) { tensors[0].tensor = Tensor::zeros({1}); }, [](auto&) {});
       },
       {file, "checksum"}},
      {[&](const Directory& d) {
         const auto path = d.path() / file;
         std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
       },
       {file}},
      {[&](const Directory& d) {
         nn::Classifier model(d.model.config);
         make_optimizer("sgd:momentum=0.9", model.parameters()).save(d.path() / file);
       },
       {file, "the state of sgd", "adamw"}},
  };
  check_refused(cases, nn::Architecture::distilbert, [&](Directory& directory) {
    std::vector<std::vector<float>> before;
    for (const NamedTensor& slot : directory.optimizer.tensors())
      if (slot.tensor.dtype() == DType::f32) {
        const auto values = slot.tensor.span<float>();
        before.emplace_back(values.begin(), values.end());
      }
    try {
      directory.optimizer.load(directory.path() / file);
    } catch (const Error&) {
      std::size_t i = 0;
      for (const NamedTensor& slot : directory.optimizer.tensors())
        if (slot.tensor.dtype() == DType::f32)
          CHECK(std::ranges::equal(slot.tensor.span<float>(), before[i++]));
      throw;
    }
  });
}

/// From a pre-trained encoder to a classifier, and on to the public library.
#include "core/file.hpp"
#include "core/json.hpp"
#include "core/model_weights.hpp"
#include "data/vocabulary_training.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"
#include "train/convert_weights.hpp"
#include "train/model_directory.hpp"
#include "train/run.hpp"

using namespace minima;
using test::contains;
using test::error_of;

namespace {

std::vector<Example> builtin_texts() { return load_dataset("builtin", 1).train; }

Vocabulary vocabulary(Casing casing) {
  const Dataset dataset = load_dataset("builtin", 1);
  std::vector<std::string_view> texts;
  for (const Example& example : dataset.train) texts.push_back(example.text);
  return train_vocabulary(texts, {.size = 600, .casing = casing});
}

nn::EncoderConfig config_of(nn::Architecture architecture, const Vocabulary& vocabulary) {
  nn::EncoderConfig config;
  config.architecture = architecture;
  config.vocabulary = vocabulary.size();
  config.positions = 64;
  config.dim = 32;
  config.heads = 4;
  config.hidden = 48;
  config.layers = 2;
  config.initializer_range = 0.2;  // so that attention is far from uniform
  config.labels = 3;
  config.label_names = {"one", "two", "three"};
  return config;
}

/// A model directory of drawn weights.
struct Directory {
  explicit Directory(nn::Architecture architecture, Casing casing = Casing::uncased)
      : vocabulary(::vocabulary(casing)), model([&] {
          nn::EncoderConfig config = config_of(architecture, vocabulary);
          config.lower_case = casing == Casing::uncased;
          return config;
        }()) {
    model.initialize(5);
    save_model(path(), Tokenizer(vocabulary, casing), 64, model);
  }
  std::string path() const { return folder.path() + "/model"; }
  test::Folder folder;
  Vocabulary vocabulary;
  nn::Classifier model;
};

const Parameter& named(nn::Classifier& model, const std::string& name) {
  for (const Parameter* parameter : model.parameters())
    if (parameter->name == name) return *parameter;
  FAIL("no parameter ", name);
  std::abort();
}

bool same(const Tensor& a, const Tensor& b) {
  return std::ranges::equal(a.span<float>(), b.span<float>());
}

}  // namespace

TEST_CASE("training from a directory takes its encoder and tokenizer, and a head for the data") {
  for (const nn::Architecture architecture :
       {nn::Architecture::distilbert, nn::Architecture::bert}) {
    Directory directory(architecture);
    const Task task = prepare({.data = "builtin", .model = directory.path()});
    CHECK(task.pretrained.has_value());
    CHECK(task.config.dim == 32);
    CHECK(task.config.label_names == task.dataset.label_names);
    CHECK(task.tokenizer.vocabulary().tokens() == directory.vocabulary.tokens());
    REQUIRE(task.notes.size() == 1);
    CHECK(contains(task.notes[0], "made anew: classifier.bias"));
    const auto one = task.new_model(1), two = task.new_model(2);
    for (const Parameter* parameter : one->parameters()) {
      CAPTURE(parameter->name);
      const Parameter& other = named(*two, parameter->name);
      if (parameter->name == "classifier.weight") {
        CHECK_FALSE(same(parameter->value, other.value));
      } else if (parameter->name != "classifier.bias") {  // zeros
        CHECK(same(parameter->value, other.value));
        CHECK(same(parameter->value, named(directory.model, parameter->name).value));
      }
    }
    // A run begins there: the encoder has hardly moved after a step of a small rate.
    const test::Folder out;
    const Run run =
        run_training(task, "sgd:lr=1e-9", {.epochs = 1}, std::filesystem::path(out.path()));
    const std::string word =
        std::string(names_of(architecture).model_type) + ".embeddings.word_embeddings.weight";
    test::check_close(named(*run.model, word).value, named(directory.model, word).value, {1e-5, 0});
    CHECK(load_model(out.path() + "/final").label_names == task.dataset.label_names);
  }
}

TEST_CASE("a head for the same labels is kept, one for others of the same number is not") {
  Directory directory(nn::Architecture::distilbert);
  const ModelDirectory read = read_model_directory(directory.path());
  const auto keeps = [&](const std::vector<std::string>& labels) {
    nn::EncoderConfig config = read.config;
    config.label_names = labels;
    const PretrainedClassifier result = pretrained_classifier(read, config, 3);
    return same(result.model->classifier.weight.value, directory.model.classifier.weight.value);
  };
  CHECK(keeps({"one", "two", "three"}));
  CHECK_FALSE(keeps({"one", "three", "two"}));
  // A directory that names no labels (LABEL_0, …) leaves open what they are.
  Json config = read_json(directory.path() + "/config.json");
  config.erase("id2label");
  config["num_labels"] = 3;
  write_file(directory.path() + "/config.json", config.dump());
  CHECK(
      pretrained_classifier(read_model_directory(directory.path()), read.config, 3).notes.empty());
}

TEST_CASE("what a directory fixes cannot be asked for otherwise") {
  const Directory directory(nn::Architecture::bert);
  const auto refused = [&](TaskOptions options, const char* words) {
    options.model = directory.path();
    CHECK(contains(error_of([&] { prepare(options); }), words));
  };
  refused({.dim = 64}, "is trained already");
  refused({.layers = 1}, "is trained already");
  refused({.vocab_file = "vocab.txt"}, "has its own tokenizer");
  refused({.casing = Casing::cased}, "has its own tokenizer");
  refused({.max_length = 65}, "max-length is 65");
  CHECK(prepare({.model = directory.path(), .dropout = 0.25}).config.attention_output_dropout ==
        0.25);
}

TEST_CASE("a vocabulary from scratch knows the words of both texts of a pair") {
  const test::Folder folder;
  std::string rows = "label\ttext\tsecond\n";
  for (int i = 0; i < 30; ++i) rows += fmt::format("{}\tgood film\tzebra quagga\n", i % 2);
  write_file(folder.path() + "/pairs.tsv", rows);
  TaskOptions options;
  options.data = folder.path() + "/pairs.tsv";
  options.read.pair_column = "second";
  options.model = "tiny";
  const Task task = prepare(options);
  Encoding encoding;
  task.tokenizer.encode("good film", "zebra quagga", {.max_length = 64}, encoding);
  CHECK(std::ranges::count(encoding.ids, task.tokenizer.vocabulary().special().unk) == 0);
}

TEST_CASE("the greatest length is the directory's: its positions, or fewer where it says so") {
  const Directory directory(nn::Architecture::bert);
  const auto length_with = [&](const std::string& value) {
    write_file(directory.path() + "/tokenizer_config.json",
               "{\"model_max_length\": " + value + "}");
    return read_model_directory(directory.path()).max_length;
  };
  CHECK(read_model_directory(directory.path()).max_length == 64);
  CHECK(length_with("20") == 20);
  CHECK(length_with("512") == 64);
  CHECK(length_with("1000000000000000019884624838656") == 64);
  CHECK(length_with("null") == 64);
  write_file(directory.path() + "/tokenizer_config.json", "{\"model_max_length\": 20}");
  const Task task = prepare({.data = "builtin", .model = directory.path()});
  i64 longest = 0;
  for (i64 i = 0; i < task.data.train.size(); ++i)
    longest = std::max(longest, task.data.train.length(i));
  CHECK(longest == 20);
}

TEST_CASE("a converted model is the same within its precision, and the same bits on the way back") {
  for (const nn::Architecture architecture :
       {nn::Architecture::distilbert, nn::Architecture::bert}) {
    Directory directory(architecture);
    const std::string folder = directory.folder.path();
    const Batch batch = make_batch(
        tokenize(Tokenizer(directory.vocabulary, Casing::uncased), builtin_texts(), 64), {0, 1, 2});
    const Tensor expected = directory.model(batch).value();
    for (const auto& [type, tolerance] :
         {std::pair{DType::f32, 0.0}, {DType::f16, 0.02}, {DType::bf16, 0.2}}) {
      CAPTURE(dtype_name(type));
      const std::string file = folder + "/x.safetensors", back = folder + "/back",
                        again = folder + "/again.safetensors";
      const ConvertReport report = convert_weights(directory.path(), file, {.dtype = type});
      CHECK(report.tensors == std::ssize(directory.model.parameters()));
      CHECK(report.elements == directory.model.parameter_count());
      CHECK(report.bytes == std::filesystem::file_size(file));
      CHECK(*SafetensorsFile(file).entry("classifier.bias").dtype == type);
      convert_weights(file, back, {.dtype = DType::f32, .like = directory.path()});
      CHECK(read_json(back + "/config.json")["dtype"] == "float32");
      test::check_close((*load_model(back).model)(batch).value(), expected, {tolerance, 0});
      convert_weights(back, again, {.dtype = type});
      CHECK(read_file(again) == read_file(file));
      // And directories of 16 bits are models.
      const std::string small = folder + "/" + std::string(dtype_name(type));
      convert_weights(directory.path(), small, {.dtype = type});
      test::check_close((*load_model(small).model)(batch).value(), expected, {tolerance, 0});
    }
  }
}

TEST_CASE("an encoder without head loses what is not of it, and can be trained again") {
  for (const nn::Architecture architecture :
       {nn::Architecture::distilbert, nn::Architecture::bert}) {
    Directory directory(architecture);
    const std::string bare = directory.folder.path() + "/bare";
    const ConvertReport report = convert_weights(directory.path(), bare, {.encoder_only = true});
    const bool bert = architecture == nn::Architecture::bert;
    CHECK(report.left_out.size() == (bert ? 2 : 4));
    CHECK(read_json(bare + "/config.json")["architectures"][0] ==
          (bert ? "BertModel" : "DistilBertModel"));
    CHECK(ModelWeights(bare).contains("embeddings.word_embeddings.weight"));
    CHECK(contains(error_of([&] { load_model(bare); }), "has no head for 3 labels"));
    const ModelDirectory read = read_model_directory(bare);
    const auto model = pretrained_classifier(read, read.config, 1).model;
    CHECK(same(model->encoder.layer[1]->ffn.lin2.weight.value,
               directory.model.encoder.layer[1]->ffn.lin2.weight.value));
    // Once more changes nothing.
    convert_weights(bare, directory.folder.path() + "/twice.safetensors", {.encoder_only = true});
    CHECK(read_file(directory.folder.path() + "/twice.safetensors") ==
          read_file(bare + "/model.safetensors"));
  }
}

TEST_CASE("a value that does not fit into f16 is an error, or counted where that is asked for") {
  const test::Folder folder;
  const std::string from = folder.path() + "/a.safetensors", to = folder.path() + "/b.safetensors";
  const float huge = 65520;
  save_safetensors(
      from, {{"w", Tensor::from(std::vector<float>{huge, -1e30f, INFINITY, 1e-9f, 0, 65519})},
             {"ids", Tensor::from(std::vector<i64>{i64{1} << 40})}});
  const std::string message = error_of([&] { convert_weights(from, to, {.dtype = DType::f16}); });
  CHECK(contains(message, from));
  CHECK(contains(message,
                 "tensor 'w': 2 of its values do not fit into f16, the largest of them 1e+30"));
  CHECK_FALSE(std::filesystem::exists(to));
  const ConvertReport report =
      convert_weights(from, to, {.dtype = DType::f16, .allow_overflow = true});
  CHECK(report.became_infinite == 2);
  CHECK(report.became_zero == 1);
  CHECK(SafetensorsFile(to).read("ids").data<i64>()[0] == i64{1} << 40);
  CHECK(contains(error_of([&] { convert_weights(from, folder.path() + "/dir", {}); }),
                 "needs a config.json"));
}

TEST_CASE("shards become one file") {
  Directory directory(nn::Architecture::distilbert);
  const std::filesystem::path path = directory.path();
  std::vector<NamedTensor> parts[2];
  Json map = Json::object();
  for (const Parameter* parameter : directory.model.parameters()) {
    const std::size_t part = map.size() % 2;
    parts[part].push_back({parameter->name, parameter->value});
    map[parameter->name] = fmt::format("model-{}.safetensors", part);
  }
  for (std::size_t part : {0, 1})
    save_safetensors(path / fmt::format("model-{}.safetensors", part), parts[part]);
  const std::string whole = read_file(path / "model.safetensors");
  std::filesystem::remove(path / "model.safetensors");
  write_file(path / "model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  const auto sharded = load_model(path).model;
  for (const Parameter* parameter : sharded->parameters())
    CHECK(same(parameter->value, named(directory.model, parameter->name).value));
  const std::filesystem::path one = path.parent_path() / "one";
  convert_weights(path, one, {});
  const auto single = load_model(one).model;
  for (const Parameter* parameter : single->parameters())
    CHECK(same(parameter->value, named(directory.model, parameter->name).value));
}

TEST_SUITE("golden") {
  TEST_CASE(
      "the public library loads a directory that was written here, and gives the same logits") {
    const std::string python = test::python_with("torch transformers");
    if (python.empty()) {
      MESSAGE("skipped: MINIMA_PYTHON (or python3) has no torch or no transformers");
      return;
    }
    const std::vector<Example> texts = builtin_texts();
    REQUIRE(texts.size() >= 200);
    Json lines = Json::array();
    for (std::size_t i = 0; i < 200; ++i) lines.push_back(texts[i].text);
    std::vector<std::unique_ptr<Directory>> directories;
    std::string folders;
    for (const nn::Architecture architecture :
         {nn::Architecture::distilbert, nn::Architecture::bert})
      for (const Casing casing : {Casing::uncased, Casing::cased}) {
        directories.push_back(std::make_unique<Directory>(architecture, casing));
        folders += " " + directories.back()->path();
      }
    const test::Folder folder;
    const std::string input = folder.write("texts.json", lines.dump());
    REQUIRE(std::system(fmt::format("'{}' '{}/tests/train/transformers_logits.py' {} {}", python,
                                    test::source_folder().string(), input, folders)
                            .c_str()) == 0);
    for (const auto& directory : directories) {
      CAPTURE(names_of(directory->model.config.architecture).model_type);
      CAPTURE(directory->model.config.lower_case);
      const TextClassifier loaded = load_model(directory->path());
      const TokenizedSplit split =
          tokenize(loaded.tokenizer, {texts.begin(), texts.begin() + 200}, loaded.max_length);
      const SafetensorsFile theirs(directory->path() + "/logits.safetensors");
      test::check_close(predict(*loaded.model, split), theirs.read("logits"), {1e-5, 0});
    }
  }
}

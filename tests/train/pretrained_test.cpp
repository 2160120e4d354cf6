/// From a pre-trained encoder to a classifier.
#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "tests/train/drawn_model.hpp"
#include "train/run.hpp"

using namespace minima;
using test::contains;
using test::DrawnModel;
using test::error_of;
using test::named;
using test::same_bits;

TEST_CASE("training from a directory takes its encoder and tokenizer, and a head for the data") {
  for (const nn::Architecture architecture :
       {nn::Architecture::distilbert, nn::Architecture::bert}) {
    DrawnModel directory(architecture);
    const Json inputs = read_json(directory.path() + "/tokenizer_config.json")["model_input_names"];
    CHECK(inputs.size() == (architecture == nn::Architecture::bert ? 3 : 2));  // token types
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
        CHECK_FALSE(same_bits(parameter->value, other.value));
      } else if (parameter->name != "classifier.bias") {  // zeros
        CHECK(same_bits(parameter->value, other.value));
        CHECK(same_bits(parameter->value, named(directory.model, parameter->name).value));
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
  DrawnModel directory(nn::Architecture::distilbert);
  const ModelDirectory read = read_model_directory(directory.path());
  const auto keeps = [&](const std::vector<std::string>& labels) {
    nn::EncoderConfig config = read.config;
    config.label_names = labels;
    const PretrainedClassifier result = pretrained_classifier(read, config, 3);
    return same_bits(result.model->classifier.weight.value,
                     directory.model.classifier.weight.value);
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

TEST_CASE("an output layer that is not the embeddings is told of, a copy of them is not") {
  for (const char* name : {"cls.predictions.decoder.weight", "vocab_projector.weight"}) {
    const auto bert = std::string_view(name).starts_with("cls");
    DrawnModel directory(bert ? nn::Architecture::bert : nn::Architecture::distilbert);
    const auto file = directory.path() + "/model.safetensors";
    std::vector<NamedTensor> tensors;
    for (const Parameter* parameter : directory.model.parameters())
      tensors.push_back({parameter->name, parameter->value});
    const auto notes_with = [&](const Tensor& output) {
      std::vector<NamedTensor> all = tensors;
      all.push_back({name, output});
      save_safetensors(file, all);
      const ModelDirectory read = read_model_directory(directory.path());
      return fmt::format("{}", fmt::join(pretrained_masked_lm(read, read.config, 1).notes, "; "));
    };
    const std::string words = bert ? "bert.embeddings.word_embeddings.weight"
                                   : "distilbert.embeddings.word_embeddings.weight";
    const Tensor embeddings = named(directory.model, words).value;
    CHECK_FALSE(contains(notes_with(embeddings), name));
    CHECK(contains(notes_with(Tensor::zeros(embeddings.shape())),
                   "the output layer has weights of its own (" + std::string(name)));
  }
}

TEST_CASE("a head for the same labels in another order numbers them") {
  DrawnModel directory(nn::Architecture::distilbert);  // one, two, three
  Dataset data;
  data.label_names = {"one", "three", "two"};
  for (const i64 label : {0, 1, 2, 1}) data.train.push_back({"good film", label});
  data.dev = data.test = {{"bad film", 2}};
  const Task task = prepare({.model = directory.path()}, data);
  CHECK(task.notes.empty());
  CHECK(task.config.label_names == std::vector<std::string>{"one", "two", "three"});
  CHECK(task.dataset.label_names == task.config.label_names);
  CHECK(task.data.train.labels == std::vector<i64>{0, 2, 1, 2});
  CHECK(task.data.dev.labels == std::vector<i64>{1});
  CHECK(task.data.test.labels == std::vector<i64>{1});
  CHECK(same_bits(task.new_model(1)->classifier.weight.value,
                  directory.model.classifier.weight.value));
  data.label_names = {"one", "three", "zwei"};
  CHECK(prepare({.model = directory.path()}, data).notes.size() == 1);
}

TEST_CASE("it is said that a tokenizer knows far fewer entries than its model has") {
  DrawnModel directory(nn::Architecture::distilbert);
  const std::filesystem::path file = std::filesystem::path(directory.path()) / "vocab.txt";
  CHECK(load_model(directory.path()).notes.empty());
  std::filesystem::remove(file.parent_path() / "tokenizer.json");
  std::string lines = read_file(file);
  lines.resize(lines.rfind('\n', lines.size() / 2) + 1);
  write_file(file, lines);
  const std::vector<std::string> notes = load_model(directory.path()).notes;
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].ends_with("is its vocabulary whole?"));
}

TEST_CASE("what a directory fixes cannot be asked for otherwise") {
  const DrawnModel directory(nn::Architecture::bert);
  const auto refused = [&](TaskOptions options, const char* words) {
    options.model = directory.path();
    CHECK(contains(error_of([&] { prepare(options); }), words));
  };
  refused({.dim = 64}, "is trained already");
  refused({.layers = 1}, "is trained already");
  refused({.vocab_file = "vocab.txt"}, "has its own tokenizer");
  refused({.casing = Casing::cased}, "has its own tokenizer");
  refused({.casing = Casing::uncased}, "has its own tokenizer");
  refused({.vocabulary = 500}, "has its own tokenizer");
  refused({.max_length = 65}, "max-length is 65");
  CHECK(prepare({.model = directory.path(), .dropout = 0.25}).config.attention_output_dropout ==
        0.25);
}

TEST_CASE("a vocabulary from scratch knows the words of both texts of a pair") {
  const test::Folder folder;
  std::string rows = "label\ttext\tsecond\n";
  for (int i = 0; i < 30; ++i) rows += fmt::format("{}\tgood film {}\tzebra quagga\n", i % 2, i);
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
  const DrawnModel directory(nn::Architecture::bert);
  const auto length_with = [&](const std::string& value) {
    write_file(directory.path() + "/tokenizer_config.json",
               "{\"model_max_length\": " + value + "}");
    return read_model_directory(directory.path()).max_length;
  };
  CHECK(read_model_directory(directory.path()).max_length == 64);
  CHECK(length_with("20") == 20);
  CHECK(length_with("512") == 64);
  CHECK(length_with("9223372036854775808") == 64);
  CHECK(length_with("1000000000000000019884624838656") == 64);
  CHECK(length_with("null") == 64);
  write_file(directory.path() + "/tokenizer_config.json", "{\"model_max_length\": 20}");
  const Task task = prepare({.data = "builtin", .model = directory.path()});
  i64 longest = 0;
  for (i64 i = 0; i < task.data.train.size(); ++i)
    longest = std::max(longest, task.data.train.length(i));
  CHECK(longest == 20);
}

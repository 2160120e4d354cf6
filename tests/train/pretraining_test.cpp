#include "train/pretraining.hpp"

#include <unistd.h>

#include <fstream>

#include "core/cpu/threads.hpp"
#include "core/safetensors.hpp"
#include "data/vocabulary_training.hpp"
#include "tests/support.hpp"
#include "train/model_directory.hpp"

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

class File {
 public:
  explicit File(const std::string& content)
      : path(std::filesystem::temp_directory_path() /
             fmt::format("minima-pretraining-{}.txt", ::getpid())) {
    std::ofstream(path) << content;
  }
  ~File() { std::filesystem::remove(path); }
  const std::filesystem::path path;
};

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

TEST_CASE("a long text is cut into pieces, and nothing of it is lost") {
  TokenizedSplit split;
  for (const i32 token : {2, 10, 11, 12, 13, 14, 3, 2, 3, 2, 20, 21, 3})
    split.tokens.push_back(token);
  split.offsets = {0, 7, 9, 13};
  split.labels = {0, 1, 0};
  const TokenizedSplit pieces = in_pieces(split, 4);
  std::vector<i32> tokens;
  for (i64 i = 0; i < static_cast<i64>(pieces.tokens.size()); ++i)
    tokens.push_back(pieces.tokens[i]);
  CHECK(tokens == std::vector<i32>{2, 10, 11, 3, 2, 12, 13, 3, 2, 14, 3, 2, 3, 2, 20, 21, 3});
  CHECK(pieces.offsets == std::vector<i64>{0, 4, 8, 11, 13, 17});
  CHECK(pieces.labels == std::vector<i64>{0, 0, 0, 1, 0});
}

TEST_CASE("plain text is a text a line; some of them are held out") {
  std::string content = "\n \n";
  for (int i = 0; i < 60; ++i) content += fmt::format("line {}\r\n\n", i);
  const File file(content + "the last, without an end");
  const Dataset dataset = load_texts(file.path.string(), 1);
  CHECK(dataset.train.size() == 58);
  CHECK(dataset.dev.size() == 3);
  CHECK(dataset.dev[0].text != load_texts(file.path.string(), 2).dev[0].text);
  const File broken("one\ntwo\xff\n");
  CHECK_THROWS_WITH_AS(load_texts(broken.path.string(), 1),
                       doctest::Contains(":2: is not valid UTF-8"), Error);
  const File single("one\n");
  CHECK_THROWS_WITH_AS(load_texts(single.path.string(), 1),
                       doctest::Contains("has 1 texts; pre-training needs 2 at least"), Error);
}

TEST_CASE("both texts of a pair are learned from, each by itself, from a file and from a folder") {
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("minima-pairs-{}", ::getpid());
  std::filesystem::create_directory(folder);
  const std::string rows = "label\tfirst\tsecond\n0\ta b\tc\n1\td\te f\n";
  for (const char* split : {"train", "dev", "test"})
    std::ofstream(folder / (std::string(split) + ".tsv")) << rows;
  ReadOptions read;
  read.text_column = "first";
  read.pair_column = "second";
  const Dataset whole = load_texts(folder.string(), 1, read);
  const Dataset file = load_texts((folder / "train.tsv").string(), 1, read);
  std::filesystem::remove_all(folder);
  CHECK(file.train.size() + file.dev.size() == 4);
  std::string texts;
  for (const Example& example : whole.train) {
    CHECK(example.pair.empty());
    texts += example.text + ";";
  }
  CHECK(texts == "a b;c;d;e f;");
}

TEST_CASE("a table's texts need no labels, and count whatever these are") {
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("minima-pretraining-{}.csv", ::getpid());
  std::ofstream(path) << "id,text\n1,one text\n2,\"another, with a comma\"\n3,a third\n";
  const Dataset dataset = load_texts(path.string(), 1);
  std::filesystem::remove(path);
  CHECK(dataset.train.size() == 2);
  CHECK(dataset.dev.size() == 1);
}

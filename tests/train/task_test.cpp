#include "train/task.hpp"

#include "core/text/utf8.hpp"
#include "data/tokenizer_files.hpp"
#include "data/vocabulary_training.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::contains;
using test::error_of;

namespace {

/// A small set of texts with capitals, and a vocabulary for it.
struct SmallSet {
  SmallSet() {
    std::string rows = "label\ttext\tsecond\n";
    for (int i = 0; i < 30; ++i) rows += fmt::format("{}\tGood Film {}\tBad\n", i % 2, i);
    options.data = folder.write("texts.tsv", rows);
    options.max_length = 16;
    train_vocabulary({"Good Film Bad 0123456789"}, {.size = 100, .casing = Casing::cased})
        .write(folder.path() + "/vocab.txt");
  }
  TaskOptions with(const std::string& model, std::optional<Casing> casing = {}) const {
    TaskOptions result = options;
    result.model = model;
    result.casing = casing;
    if (model == "distilbert-base-cased") result.dim = 12, result.hidden = 12, result.layers = 1;
    return result;
  }
  test::Folder folder;
  TaskOptions options;
};

}  // namespace

TEST_CASE(
    "the casing of a model from scratch is that of its preset, its tokenizer file, or as asked") {
  const SmallSet texts;
  const auto is_cased = [](const TaskOptions& options) {
    const Task task = prepare(options);
    CHECK(task.config.lower_case == task.tokenizer.normalization().lowercase);
    CHECK((task.tokenizer.vocabulary().find("G") >= 0) == !task.config.lower_case);
    return !task.config.lower_case;
  };
  CHECK_FALSE(is_cased(texts.with("tiny")));
  CHECK(is_cased(texts.with("tiny", Casing::cased)));
  CHECK(is_cased(texts.with("distilbert-base-cased")));
  CHECK(contains(error_of([&] { prepare(texts.with("distilbert-base-cased", Casing::uncased)); }),
                 "distilbert-base-cased is a cased model"));

  TaskOptions with_file = texts.with("distilbert-base-cased");
  with_file.vocab_file = texts.folder.path() + "/vocab.txt";
  CHECK(is_cased(with_file));
  TaskOptions with_json = texts.with("tiny");
  std::filesystem::create_directory(texts.folder.path() + "/cased");
  write_tokenizer(texts.folder.path() + "/cased",
                  Tokenizer(Vocabulary::read(with_file.vocab_file), Casing::cased), 9);
  for (const char* name : {"/cased", "/cased/tokenizer.json"}) {
    with_json.vocab_file = texts.folder.path() + name;
    with_json.casing = {};
    CHECK(is_cased(with_json));
    with_json.casing = Casing::uncased;
    CHECK(contains(error_of([&] { prepare(with_json); }), "go with a vocab.txt"));
  }
}

TEST_CASE("a vocabulary that is given has no size to ask for") {
  const SmallSet texts;
  TaskOptions options = texts.with("tiny");
  options.vocab_file = texts.folder.path() + "/vocab.txt";
  options.vocabulary = 500;
  CHECK(contains(error_of([&] { prepare(options); }), "vocab.txt is taken; it is not made"));
}

TEST_CASE("a vocabulary from texts of many characters has room for more of them than a thousand") {
  std::string all;
  for (char32_t c = 0x4E00; c < 0x4E00 + 1500; ++c) append_utf8(all, c);
  Dataset data;
  data.label_names = {"a", "b"};
  for (const i64 label : {0, 1}) data.train.push_back({all, label});
  data.dev = data.test = data.train;
  CHECK(prepare({.model = "tiny", .max_length = 2000}, data).unknown == 0);
  CHECK(prepare({.model = "tiny", .vocabulary = 2000, .max_length = 2000}, data).unknown > 0.3);
}

TEST_CASE("a model remembers that it has learned from pairs") {
  const SmallSet texts;
  TaskOptions options = texts.with("tiny");
  CHECK_FALSE(prepare(options).config.pairs);
  options.read.pair_column = "second";
  const nn::EncoderConfig config = prepare(options).config;
  CHECK(config.pairs);
  CHECK(nn::EncoderConfig::from_json(config.to_json(), "config.json").pairs);
}

TEST_CASE("texts have room for a token beside [CLS] and [SEP], pairs for one of each text") {
  const SmallSet texts;
  TaskOptions options = texts.with("tiny");
  options.max_length = 2;
  CHECK(contains(error_of([&] { prepare(options); }), "max-length is 2; it must lie between 3"));
  options.max_length = 3;
  const Task task = prepare(options);
  CHECK(task.data.train.cut == task.data.train.size());
  options.read.pair_column = "second";
  options.max_length = 4;
  CHECK(contains(error_of([&] { prepare(options); }),
                 "max-length is 4; pairs have at least 5 tokens"));
  options.max_length = 5;
  CHECK(prepare(options).max_length == 5);
}

TEST_CASE("plain texts are taken in pieces, without what follows for a classifier") {
  const SmallSet texts;
  TaskOptions options = texts.with("tiny");
  const i64 whole = prepare(options).data.train.tokens.size();
  options.max_length = 3;
  const Task task = prepare(options, load_dataset(options.data, 1), Texts::plain);
  CHECK(task.data.train.cut == 0);
  CHECK(task.data.train.tokens.size() == 3 * task.data.train.size());
  CHECK(task.data.train.size() == whole - 2 * std::ssize(task.dataset.train));
}

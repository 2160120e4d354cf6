#include "examples/minima/options.hpp"

#include "core/cpu/blas.hpp"
#include "core/cpu/threads.hpp"
#include "core/devices.hpp"
#include "core/files/file.hpp"
#include "core/ops/matmul.hpp"
#include "core/text/split.hpp"
#include "data/unicode.hpp"
#include "data/whole_number.hpp"
#include "examples/minima/configuration.hpp"
#include "examples/minima/notes.hpp"
#include "examples/minima/terminal.hpp"
#include "train/finetuning.hpp"
#include "train/memory.hpp"
#include "train/run.hpp"

namespace minima {
void CommonOptions::add_to(CLI::App& verb) {
  this->verb = &verb;
  verb.add_option("--seed", seed, "seed of weights, order and dropout")->capture_default_str();
  verb.add_option("--threads", threads, "threads that compute (0: all cores)")
      ->capture_default_str();
  verb.add_flag("--json", json, "one JSON document on standard output, nothing else");
  verb.add_option("--out", out, "folder to write to (default: runs/VERB-DATE-TIME)");
  verb.add_option(
      "--config", config,
      "a JSON file of options: {\"epochs\": 3, \"optimizer\": \"came\"}; those on the command line "
      "stand over it");
}

void CommonOptions::add_device(CLI::App& verb) {
  verb.add_option("--device", device,
                  "cpu, cuda, cuda:N, or, in a build for tests, emulated (default: a GPU where "
                  "there is one, else the cpu)");
}

Device CommonOptions::place() const {
  const Device device = this->device.empty() ? default_device() : parse_device(this->device);
  require_device(device);
  return device;
}

Json CommonOptions::arguments() const { return arguments_of(*verb); }

void CommonOptions::tell(const std::filesystem::path& run) const {
  const std::string changed = changed_options(*verb);
  print_note("options: {}; all go to {}\n", changed.empty() ? "as they are by default" : changed,
             (run / "run.json").string());
}

void CommonOptions::apply() const {
  check(threads >= 0 && threads <= 1024,
        "threads is {}; it must lie between 0 (all cores) and 1024", threads);
  if (threads > 0) set_threads(threads);
  place();
  vector_unit();  // a wrong MINIMA_VECTOR_UNIT, and an OpenBLAS that is missed, are told now, not by a task
  if (!ops::products_in_blocks()) blas::info();
}

void add_read_options(CLI::App& verb, ReadOptions& read, Texts texts) {
  std::vector<CLI::Option*> columns = {
      verb.add_option("--text-column", read.text_column,
                      "column or key of the text; several, joined by a space: title,body")
          ->capture_default_str()};
  if (texts == Texts::labelled)
    columns.push_back(
        verb.add_option("--label-column", read.label_column, "column or key of the label")
            ->capture_default_str());
  else
    verb.add_flag("--plain-text", read.plain_text,
                  "a text a line, whatever the file's name (default: of a .txt)");
  verb.add_option("--pair-column", read.pair_column, "column or key of a second text");
  verb.add_flag(
      "--no-header", read.no_header,
      "a table's first row is a row; columns are numbers: the label 1, the text the rest");
  verb.add_option(
      "--delimiter", read.delimiter,
      "what stands between a table's fields, by the rules of CSV: ';', tab, … (default: "
      "by the file's name)");
  verb.add_flag("--skip-bad-rows", read.skip_bad_rows, "count bad rows and go on");
  // A reader cannot tell a name that is given from that by default, which stands for a place there.
  verb.parse_complete_callback([&read, columns] {
    if (!read.no_header) return;
    for (const CLI::Option* option : columns)
      for (const std::string& given : option->results())
        for (const std::string& column : split(given, ','))
          check(whole_number(column).has_value(),
                "{} '{}': columns have no names under --no-header; numbers count them, from 1",
                option->get_name(), column);
  });
}

void add_casing_options(CLI::App& verb, bool& cased, bool& uncased, const std::string& when) {
  const std::string note = when.empty() ? "" : fmt::format(" ({})", when);
  CLI::Option* const keep = verb.add_flag("--cased", cased, "keep capitals and accents" + note);
  verb.add_flag("--uncased", uncased, "lower capitals and drop accents" + note)->excludes(keep);
}

std::optional<Casing> chosen_casing(bool cased, bool uncased) {
  if (!cased && !uncased) return {};
  return cased ? Casing::cased : Casing::uncased;
}

std::pair<std::string_view, std::string_view> pair_of(const Lines& input) {
  const std::string_view line = input.line();
  const auto tabs = std::ranges::count(line, '\t');
  if (tabs != 1)
    bad_row(input.source(), input.number(), "the line has {}; --pairs takes text<TAB>text",
            tabs == 0 ? "no tab" : fmt::format("{} tabs", tabs));
  const std::size_t tab = line.find('\t');
  return {line.substr(0, tab), line.substr(tab + 1)};
}

void TrainingVerbOptions::add_to(CLI::App& verb, Texts texts) {
  verb.add_option(
          "--data", task.data,
          texts == Texts::labelled
              ? "builtin, debian, a folder with train and, if you like, dev and test, or a .tsv, "
                ".csv or .jsonl file"
              : "builtin, debian, a file, or a folder with train and, if you like, dev: .txt, "
                ".tsv, .csv or .jsonl")
      ->capture_default_str();
  add_read_options(verb, task.read, texts);
  if (texts == Texts::labelled) {
    verb.add_option("--dev", task.apart.dev, "a file of texts to choose the best model by");
    verb.add_option("--test", task.apart.test, "a file of texts to judge it by in the end");
    verb.add_option("--split-seed", task.split_seed,
                    "draws which rows of a single file, or of a folder's train, are dev and test")
        ->capture_default_str();
  }
  verb.add_option("--model", task.model,
                  "from scratch: tiny, small, medium, distilbert-base, distilbert-base-cased, or a "
                  "config.json; a model directory (DistilBERT or BERT) is trained on")
      ->capture_default_str();
  verb.add_option("--dim", task.dim, "width of the encoder");
  verb.add_option("--layers", task.layers, "transformer blocks");
  verb.add_option("--heads", task.heads, "attention heads");
  verb.add_option("--hidden", task.hidden, "width of the feed-forward nets");
  verb.add_option("--dropout", task.dropout, "all dropout rates");
  verb.add_option("--pooling", pooling, "what the classifier reads: first (token) or mean (of all)")
      ->check(CLI::IsMember({"first", "mean"}));
  verb.add_option("--vocabulary", task.vocabulary,
                  "entries of the vocabulary made from the training texts (default: 8000)");
  verb.add_option("--vocab", task.vocab_file,
                  "a vocab.txt, a tokenizer.json or their folder to take instead");
  add_casing_options(verb, cased, uncased, "default: as the model or --vocab has it");
  verb.add_option("--max-length", task.max_length,
                  texts == Texts::labelled
                      ? "tokens of a text; the rest is cut off (default: 128; of a directory what "
                        "it takes)"
                      : "tokens of a piece, into which longer texts are cut (default: 128; of a "
                        "directory what it takes)");
  verb.add_option(
      "--epochs", epochs,
      texts == Texts::labelled
          ? "passes over the training texts (default: about 25,000 texts in all, 3 to 20)"
          : "passes over the texts, after which the last model is kept, not the best (default: "
            "20)");
  verb.add_option("--steps", steps, "optimizer steps, instead of --epochs");
  verb.add_option("--minutes", minutes,
                  "stop a training after them at the latest, counted anew when it is resumed; each "
                  "of a comparison has them (0: no limit)");
  verb.add_option("--batch", batch, "texts of a batch (default 32)");
  verb.add_option("--tokens", tokens, "tokens of a batch, instead of --batch");
  verb.add_option("--schedule", training.schedule,
                  "of the learning rate, with its options, as cosine:minimum=0.1: linear, cosine, "
                  "one_cycle, plateau, … (minima optimizers lists all)")
      ->capture_default_str();
  verb.add_option("--warmup", training.warmup,
                  "share of the steps over which the learning rate rises, from 0 in the first step "
                  "(one_cycle takes none, it has pct_start)")
      ->capture_default_str();
  verb.add_option("--clip", training.clip_norm, "greatest norm of the gradient (0: not clipped)")
      ->capture_default_str();
  verb.add_option("--clip-value", training.clip_value, "greatest entry of a gradient (0: not cut)")
      ->capture_default_str();
  verb.add_option("--accumulate", training.accumulate, "batches of an optimizer step")
      ->capture_default_str();
  verb.add_option("--group", groups,
                  "options for parameters by name: 'embeddings|bias:lr=1e-5:weight_decay=0' "
                  "(repeatable, the first that matches; classifier is found in pre_classifier too, "
                  "^classifier is not: ^ and $ are where a part of the name begins, ends)")
      ->allow_extra_args(false);
  verb.add_option(
      "--freeze", freeze,
      "parameters that stay as they are, by whole parts of their names: embeddings,layer.0");
  verb.add_option("--layer-decay", training.layer_decay,
                  "learning rate of each layer as a share of that of the layer above")
      ->capture_default_str();
  if (texts == Texts::labelled) {
    verb.add_option("--word-dropout", training.word_dropout,
                    "share of the tokens that are hidden while training")
        ->capture_default_str();
    verb.add_option("--class-weights", training.class_weights,
                    "how much classes count in training's loss: balanced (all classes together "
                    "alike), or a number for each as they are numbered (labels.txt, else by name), "
                    "which is told: 1,2.5");
    verb.add_option("--label-smoothing", training.label_smoothing,
                    "share of each training label that is spread over all classes")
        ->capture_default_str();
  }
  verb.add_flag("--checkpoint-layers", training.checkpoint_layers,
                "keep each block's input alone and compute the rest again: less memory, more time");
  verb.add_flag("--update-in-backward", training.update_in_backward,
                "step each weight when backward has its gradient: the same bits, less memory; with "
                "--clip 0, on the cpu");
  verb.add_flag("--lazy-rows", lazy_rows,
                "move only the rows of an embedding that the batch has looked up");
  verb.add_option("--evaluate-every", training.evaluate_every,
                  "evaluate after so many steps (0: after each epoch)")
      ->capture_default_str();
  if (texts == Texts::labelled) {
    verb.add_option("--metric", training.metric,
                    fmt::format("by which the best model is kept: {} (on dev)",
                                fmt::join(metric_names(), ", ")))
        ->check(CLI::IsMember(metric_names()))
        ->capture_default_str();
    verb.add_option("--patience", training.patience,
                    "stop after so many evaluations without a better one (0: never)")
        ->capture_default_str();
  }
  verb.add_option("--save-every", training.save_every,
                  "steps from checkpoint to checkpoint (0: none; default: a minute apart)");
  verb.add_option("--keep", training.keep, "newest checkpoints that are kept (0: all)")
      ->capture_default_str();
  add_choice(verb, "--non-finite", training.non_finite,
             "in a step whose loss or gradient is not finite: stop, skip the step, or skip it and "
             "lower-scale");
  add_choice(verb, "--precision", training.precision,
             "of the products in training: fp32; tf32, on a GPU: fp32 numbers, of which 10 bits of "
             "mantissa are multiplied; bf16 and fp16 (with a scaled loss), which take less memory");
  verb.add_option("--round-tokens", training.round_tokens,
                  "on a GPU: fill batches up to a multiple of so many tokens, and replay what has "
                  "the shapes of an earlier one as a CUDA graph (0: neither)")
      ->capture_default_str();
  verb.add_option("--watch", training.watch,
                  "look at each tensor's update every so many steps (0: never)")
      ->capture_default_str();
}

void TrainingVerbOptions::resolve(const CommonOptions& common) {
  for (const auto& [name, size] : {std::pair{"--batch", batch}, {"--tokens", tokens}})
    check(size.value_or(1) > 0, "{} is {}; it must be at least 1", name, size.value_or(1));
  check(!batch || !tokens,
        "--batch and --tokens exclude one another: give the size of a batch in texts or in tokens");
  training.seed = common.seed;
  task.device = common.place();
  if (is_preset(task.model) && is_folder(task.model))
    print_note("note: --model {0} is the preset; the folder of that name is --model ./{0}\n",
               task.model);
  training.batch = tokens ? BatchSize::of_tokens(*tokens) : BatchSize::of_texts(batch.value_or(32));
  check_precision(training.precision, task.device);
  if (training.update_in_backward) check_update_in_backward(training.precision, task.device);
  check(!epochs || !steps,
        "--epochs and --steps exclude one another: give the length of training in one of them");
  check(steps.value_or(1) > 0, "--steps is {}; it must be at least 1", steps.value_or(1));
  if (epochs) training.epochs = *epochs;
  if (steps) training.steps = *steps;
  if (minutes) training.minutes = *minutes;
  if (!pooling.empty()) task.pooling = pooling == "mean" ? nn::Pooling::mean : nn::Pooling::first;
  task.casing = chosen_casing(cased, uncased);
  if (!freeze.empty()) training.freeze = split_specs("--freeze", {freeze});
  for (const std::string& group : groups)
    training.groups.push_back(with_defaults(GroupPattern::parse(group)));
  validate(training);
  check(parse_schedule(training.schedule).takes_warmup() || training.warmup == 0 ||
            training.warmup == TrainingOptions{}.warmup,
        "--schedule {} and --warmup {} exclude one another: it rises by itself, over its pct_start",
        training.schedule, training.warmup);
}

std::string TrainingVerbOptions::resolve_spec(const std::string& spec,
                                              std::optional<double> lr) const {
  check(!lazy_rows || !has_option(spec, "lazy_rows"),
        "--lazy-rows and {} give lazy_rows twice; leave one out", spec);
  return with_defaults(lazy_rows ? spec + ":lazy_rows=true" : spec, start_of(task.model), lr);
}

std::string with_option(const std::string& optimizer, const std::string& name,
                        const std::string& value) {
  check(!has_option(optimizer, name), "--{0} {1} and --optimizer {2} give {0} twice; leave one out",
        name, value, optimizer);
  return fmt::format("{}:{}={}", optimizer, name, value);
}

std::vector<std::string> split_specs(const std::string& option,
                                     const std::vector<std::string>& words) {
  std::vector<std::string> specs;
  for (const std::string& word : words)
    for (const std::string& part : split(word, ',')) {
      const std::string entry(unicode::trimmed(part));
      check(!entry.empty(), "{} '{}' has an empty entry; leave out what is not needed", option,
            word);
      specs.push_back(entry);
    }
  return specs;
}

void TrainingVerbOptions::tell_of_no_effect(const nn::EncoderConfig& config) const {
  if (lazy_rows && freezes(training.freeze, std::string(config.names().model_type) + ".embeddings"))
    print_note("note: the embeddings are frozen: --lazy-rows has no effect\n");
  if (training.round_tokens > 0 && task.device == Device{})
    print_note("note: --round-tokens is for a GPU and has no effect on the cpu\n");
  const auto is_given = [&](const char* split, const std::string& apart) {
    return !apart.empty() || (is_folder(task.data) && split_file(task.data, split));
  };
  const bool has_splits = task.data == "builtin" ||
                          (is_given("dev", task.apart.dev) && is_given("test", task.apart.test));
  if (has_splits && task.split_seed != TaskOptions{}.split_seed)
    print_note("note: {} has splits of its own: --split-seed has no effect\n", task.data);
}

void TrainingVerbOptions::choose_epochs(i64 by_default, const Batches& batches) {
  if (const i64 all = total_steps(batches, 1, 1); training.accumulate > all)
    print_note("note: an epoch has {} batches: --accumulate {} makes one step of each epoch\n", all,
               training.accumulate);
  if (epochs) return;
  training.epochs = by_default;
  if (!steps) return;
  const i64 an_epoch = total_steps(batches, 1, training.accumulate);
  training.epochs = std::clamp<i64>(ceil_div(*steps, an_epoch), 1, kMostEpochs);
}

Task TrainingVerbOptions::load() {
  // Many texts take a while to tokenize; few are told of when nothing can be refused any more.
  const auto tell = [](const Dataset& data) { print_note("{}\n", data.origin); };
  const auto many = [](const Dataset& data) { return data.train.size() > 50'000; };
  Task loaded = prepare(task, [&](const Dataset& data) {
    if (many(data)) tell(data);
  });
  // Refuses what names no parameter.
  predict_step(loaded.config, BatchShape::of_texts(1, 1), {.freeze = training.freeze});
  if (!many(loaded.dataset)) tell(loaded.dataset);
  for (const std::string& note : loaded.notes) print_note("{}: {}\n", task.model, note);
  tell_of_alike_labels(loaded.dataset.label_names);
  tell_of_unknown(loaded);
  const TokenizedSplit& texts = loaded.data.train;
  tell_of_cut(texts.cut, texts.size(), "training texts", loaded.max_length);
  tell_of_overlaps(loaded);
  tell_of_conflicts(loaded);
  tell_of_rare_classes(loaded);
  tell_of_class_weights(loaded, training);
  tell_of_no_effect(loaded.config);
  const Batches batches = shuffled(loaded.data.train, training.batch, training.seed);
  choose_epochs(loaded.pretrained ? 3 : default_epochs(loaded.data.train.size()), batches);
  const i64 total = total_steps(batches, training);
  if (total == 1 && training.warmup >= 0.5 && parse_schedule(training.schedule).takes_warmup())
    print_note(
        "minima: warning: the only step has the learning rate 0, with which a warm-up begins: give "
        "--warmup 0\n");
  by_step(training.switches, total);
  return loaded;
}

}  // namespace minima

#include "examples/minima/options.hpp"

#include <unistd.h>

#include <chrono>
#include <ctime>

#include "core/cpu/blas.hpp"
#include "core/cpu/threads.hpp"

namespace minima {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void CommonOptions::add_to(CLI::App& verb) {
  verb.add_option("--seed", seed, "seed of weights, order and dropout")->capture_default_str();
  verb.add_option("--threads", threads, "threads that compute (0: all cores)")
      ->capture_default_str();
  verb.add_flag("--json", json, "one JSON document on standard output, nothing else");
  verb.add_option("--out", out, "folder to write to (default: runs/VERB-DATE-TIME)");
}

void CommonOptions::apply() const {
  check(threads >= 0 && threads <= 1024,
        "threads is {}; it must lie between 0 (all cores) and 1024", threads);
  if (threads > 0) set_threads(threads);
  vector_unit();  // a wrong MINIMA_VECTOR_UNIT and a missing OpenBLAS are told now, not by a task
  blas::info();
}

void TrainingVerbOptions::add_to(CLI::App& verb) {
  verb.add_option("--data", task.data,
                  "builtin, debian, a folder with train/dev/test.tsv, or a .tsv file")
      ->capture_default_str();
  verb.add_option("--model", task.model, "tiny, small, medium, distilbert-base, or a config.json")
      ->capture_default_str();
  verb.add_option("--dim", task.dim, "width of the encoder");
  verb.add_option("--layers", task.layers, "transformer blocks");
  verb.add_option("--heads", task.heads, "attention heads");
  verb.add_option("--hidden", task.hidden, "width of the feed-forward nets");
  verb.add_option("--dropout", task.dropout, "all dropout rates");
  verb.add_option("--pooling", pooling, "what the classifier reads: first (token) or mean (of all)")
      ->check(CLI::IsMember({"first", "mean"}));
  verb.add_option("--vocabulary", task.vocabulary,
                  "entries of the vocabulary made from the training texts")
      ->capture_default_str();
  verb.add_option("--vocab", task.vocab_file, "a vocab.txt to take instead");
  verb.add_flag("--cased", cased, "keep capitals and accents");
  verb.add_option("--max-length", task.max_length, "tokens of a text; the rest is cut off")
      ->capture_default_str();
  verb.add_option("--epochs", epochs,
                  "passes over the training texts (default: about 25,000 texts in all, 3 to 20)");
  verb.add_option("--batch", batch, "texts of a batch (default 32)");
  verb.add_option("--tokens", tokens, "tokens of a batch, instead of --batch");
  verb.add_option("--schedule", training.schedule,
                  "of the learning rate, with its options: linear, cosine:minimum=0.1, "
                  "one_cycle:pct_start=0.3, plateau:patience=2, …")
      ->capture_default_str();
  verb.add_option(
          "--warmup", training.warmup,
          "share of the steps over which the learning rate rises (one_cycle: its pct_start)")
      ->capture_default_str();
  verb.add_option("--clip", training.clip_norm, "greatest norm of the gradient (0: not clipped)")
      ->capture_default_str();
  verb.add_option("--clip-value", training.clip_value, "greatest entry of a gradient (0: not cut)")
      ->capture_default_str();
  verb.add_option("--accumulate", training.accumulate, "batches of an optimizer step")
      ->capture_default_str();
  verb.add_option("--group", groups,
                  "options for parameters by name: 'embeddings|bias:lr=1e-5:weight_decay=0' "
                  "(repeatable, the first that matches)")
      ->allow_extra_args(false);
  verb.add_flag("--lazy-rows", lazy_rows,
                "move only the rows of an embedding that the batch has looked up");
  verb.add_option("--watch", training.watch,
                  "look at each tensor's update every so many steps (0: never)")
      ->capture_default_str();
}

void TrainingVerbOptions::resolve(const CommonOptions& common) {
  check(batch >= 0 && tokens >= 0, "batch: {} texts or {} tokens; it must be positive", batch,
        tokens);
  check(batch == 0 || tokens == 0,
        "--batch and --tokens exclude one another: give the size of a batch in texts or in tokens");
  training.batch =
      tokens > 0 ? BatchSize::of_tokens(tokens) : BatchSize::of_texts(batch > 0 ? batch : 32);
  training.seed = common.seed;
  if (epochs) training.epochs = *epochs;
  if (!pooling.empty()) task.pooling = pooling == "mean" ? nn::Pooling::mean : nn::Pooling::first;
  task.casing = cased ? Casing::cased : Casing::uncased;
  for (const std::string& group : groups) training.groups.push_back(GroupPattern::parse(group));
  validate(training);
}

std::string TrainingVerbOptions::resolve_spec(const std::string& spec) const {
  return with_defaults(lazy_rows ? spec + ":lazy_rows=true" : spec);
}

Task TrainingVerbOptions::load() {
  Task loaded = prepare(task);
  if (!epochs) training.epochs = default_epochs(loaded.data.train.size());
  return loaded;
}

std::filesystem::path run_directory(const std::string& verb, const CommonOptions& common) {
  if (!common.out.empty()) return common.out;
  const std::time_t time = std::time(nullptr);
  std::tm local{};
  localtime_r(&time, &local);
  char stamp[32];
  std::strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &local);
  const std::filesystem::path first =
      std::filesystem::path("runs") / fmt::format("{}-{}", verb, stamp);
  std::filesystem::path free = first;
  for (int i = 2; std::filesystem::exists(free); ++i)
    free = fmt::format("{}-{}", first.string(), i);
  return free;
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::begin(const std::string& what) {
  what_ = what;
  started_ = now();
  drawn_ = 0;
}

Callback Progress::callback() {
  return {.step = [this](const StepRecord& record, i64 total) { step(record, total); },
          .evaluation = [this](const EvaluationRecord& record) { evaluation(record); },
          .alarm = [this](const Alarm& alarm) { say("alarm: " + alarm.text() + "\n"); },
          .switched = [this](const SwitchRecord& record) { say(record.text()); },
          .say = [this](const std::string& text) { say(text + "\n"); }};
}

void Progress::step(const StepRecord& record, i64 total) {
  if (!terminal_ || (now() - drawn_ < 0.1 && record.step != total)) return;
  drawn_ = now();
  const double rate = static_cast<double>(record.step) / (drawn_ - started_);
  const i64 filled = 24 * record.step / total;
  std::string bar;
  for (i64 i = 0; i < 24; ++i) bar += i < filled ? "━" : "─";
  fmt::print(stderr, "\r\033[K{}  {} {}/{}  loss {:.3f}  {:.1f} steps/s  {:.0f} s left", what_, bar,
             record.step, total, record.loss, rate,
             static_cast<double>(total - record.step) / rate);
}

void Progress::evaluation(const EvaluationRecord& record) {
  fmt::print(
      stderr,
      "{}{}  epoch {}  train loss {:.3f}  dev loss {:.3f}  dev accuracy {:.1f} %  {:.1f} s\n",
      terminal_ ? "\r\033[K" : "", what_, record.epoch, record.train_loss, record.dev.loss,
      100 * record.dev.accuracy(), record.seconds);
}

void Progress::say(const std::string& text) {
  fmt::print(stderr, "{}{}  {}", terminal_ ? "\r\033[K" : "", what_, text);
}

}  // namespace minima

/// Options that several verbs share.
#pragma once

#include <CLI/CLI.hpp>

#include "core/folder.hpp"
#include "data/readers/lines.hpp"
#include "train/compare.hpp"

namespace minima {

/// --seed, --threads, --json, --out, --config.
struct CommonOptions {
  u64 seed = 1;
  int threads = 0;  ///< 0: all cores
  bool json = false;
  std::string out;
  std::string device;  ///< empty: see default_device
  std::string config;  ///< read before the command line (examples/minima/configuration.hpp)
  const CLI::App* verb = nullptr;

  void add_to(CLI::App& verb);
  /// Every option of the verb as it was given or is by default, for run.json and --config.
  Json arguments() const;
  /// Says on standard error which of them are not the default, and that `run`'s run.json has all.
  void tell(const std::filesystem::path& run) const;
  /// --device alone, for verbs that take no other.
  void add_device(CLI::App& verb);
  /// Where to compute. Throws Error, saying what is missing, for a device that is not there.
  Device place() const;
  /// Sets the threads and loads OpenBLAS. Throws Error for a number of threads out of range, and
  /// where OpenBLAS cannot be loaded.
  void apply() const;
};

/// --text-column, --label-column, --pair-column, --no-header, --skip-bad-rows; of plain texts --plain-text
/// in place of --label-column.
void add_read_options(CLI::App& verb, ReadOptions& read, Texts texts = Texts::labelled);

/// --cased and --uncased, which exclude one another; `when` says where they count.
void add_casing_options(CLI::App& verb, bool& cased, bool& uncased, const std::string& when);
/// What they say; nothing where neither is given.
std::optional<Casing> chosen_casing(bool cased, bool uncased);

/// Says on standard error that a model has learned from pairs and is given single texts, for which
/// `option` is missing. Throws Error for pairs where it cannot tell their texts apart.
void tell_of_pairs(const TextClassifier& classifier, const std::string& model, bool pairs,
                   const std::string& option);

/// The two texts of a line, text<TAB>text. Throws BadRow for none or several tabs.
std::pair<std::string_view, std::string_view> pair_of(const Lines& input);

/// Says on standard error which labels look alike but for blanks and letter case.
void tell_of_alike_labels(const std::vector<std::string>& labels);
/// Says there where a vocabulary does not know many of the words that are to be learned from.
void tell_of_unknown(const Task& task);
/// Says there that texts are cut to their first tokens.
void tell_of_cut(i64 cut, i64 texts, std::string_view what, i64 max_length);
/// Says there that texts of one split are in another.
void tell_of_overlaps(const Task& task);
/// Says there that texts have more labels than one.
void tell_of_conflicts(const Task& task);
/// Says there which classes no evaluation sees.
void tell_of_rare_classes(const Task& task);
/// Says there what each class counts in training's loss where that is given in numbers, and warns of one that counts far
/// more than others.
void tell_of_class_weights(const Task& task, const TrainingOptions& training);

/// What is trained on what, and how: --data, --model, --epochs, --batch, …
struct TrainingVerbOptions {
  TaskOptions task;
  TrainingOptions training;
  std::optional<i64> epochs, steps;
  std::optional<double> minutes;
  std::optional<i64> batch, tokens;
  std::string pooling, freeze;
  bool cased = false, uncased = false, lazy_rows = false;
  std::vector<std::string> groups;

  /// Of plain texts, without what concerns labels: --label-column, --metric, --patience and
  /// --word-dropout.
  void add_to(CLI::App& verb, Texts texts = Texts::labelled);
  /// The options as `prepare` and run_training take them. Throws Error for a mix that makes no sense.
  void resolve(const CommonOptions& common);
  /// `spec` with --lazy-rows, and with `lr`, or the learning rate that suits it (with_defaults). Throws Error where it has an
  /// lr already.
  std::string resolve_spec(const std::string& spec, std::optional<double> lr = {}) const;
  /// How many passes there are where they are not given: those that --steps take, or the default.
  void choose_epochs(i64 by_default, const Batches& batches);
  /// Says on standard error which of these options do nothing with this device and data.
  void tell_of_no_effect() const;
  /// Loads the task, says what it is, and chooses the number of epochs by its size where none was given. Throws Error where
  /// its texts do not fit the batches, or a switch comes after the last step.
  Task load();
};

/// Says on standard error where a spec's own rate leaves SGD without the momentum that it has else, where an optimizer
/// is in 8 bits by its name alone, and where state=… does nothing, as there is no number for each weight.
void tell_of_spec(const std::string& spec);

/// "adamw" → "adamw:state=bf16", for an option such as --state. Throws Error where the optimizer's options have `name` already.
std::string with_option(const std::string& optimizer, const std::string& name,
                        const std::string& value);

/// "adamw,lion", in one word or several: each spec. Throws Error for an empty one.
std::vector<std::string> split_specs(const std::string& option,
                                     const std::vector<std::string>& words);

/// An option that takes the name of one of an enumeration's values (`choices`); `value` is that by default.
template <class Choice>
void add_choice(CLI::App& verb, const std::string& option, Choice& value, const std::string& what) {
  const auto names = choices(Choice{});
  verb.add_option_function<std::string>(
          option,
          [&value, names](const std::string& name) {
            value = static_cast<Choice>(std::ranges::find(names, name) - names.begin());
          },
          what)
      ->check(CLI::IsMember(std::vector<std::string>(names.begin(), names.end())))
      ->default_str(std::string(name_of(value)));
}

/// --out, or runs/<verb>-<date>-<time>, a new one; for this process alone.
FolderLock output_folder(const std::string& verb, const CommonOptions& common);

/// The folder of a run, which this process has for itself: that of `resumed`, else output_folder. Throws Error, before
/// anything is loaded, where another process has it, where it cannot be written, and of a new run where it has an earlier one,
/// or a file of another's that the run would replace.
struct RunFolder {
  RunFolder(const std::string& verb, const CommonOptions& common, const std::string& resumed)
      : verb(verb),
        resumes(!resumed.empty()),
        lock(resumes ? FolderLock(resumed) : output_folder(verb, common)),
        path(lock.path()) {
    if (!resumes) refuse_used_folder(path);
  }
  /// The optimizer's spec: that of the resumed run, which another version may have completed otherwise.
  std::string spec_or(const std::string& resolved) const;
  /// Whether the resumed run has ended, which it says.
  bool tell_ended(const CommonOptions& common) const;
  /// Says why a run took not all of its steps, if so, and how it goes on where its time was up.
  void tell_stopped(i64 epoch, Stop stop) const;
  /// "go on without a limit: minima train --resume …"
  std::string way_on() const;
  /// f(), the run. An error at run time then says how to go on.
  template <class F>
  auto work(const F& f) const {
    try {
      return f();
    } catch (const Error& error) {
      fail(error);
    }
  }
  const std::string verb;
  const bool resumes;
  const FolderLock lock;
  const std::filesystem::path path;

 private:
  [[noreturn]] void fail(const Error& error) const;
};

/// The end that a shell expects of a program that Ctrl-C has stopped, behind a message.
[[noreturn]] void die_of_interrupt(const std::string& message);
/// The same of a training, which says how to go on.
[[noreturn]] void die_of_interrupt(const std::string& verb, const std::filesystem::path& directory);

}  // namespace minima

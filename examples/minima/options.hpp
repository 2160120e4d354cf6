/// Options that several verbs share.
#pragma once

#include <CLI/CLI.hpp>

#include "data/readers/lines.hpp"
#include "train/task.hpp"
#include "train/training_options.hpp"

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

/// The two texts of a line, text<TAB>text. Throws BadRow for none or several tabs.
std::pair<std::string_view, std::string_view> pair_of(const Lines& input);

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
  void tell_of_no_effect(const nn::EncoderConfig& config) const;
  /// Loads the task, says what it is, and chooses the number of epochs by its size where none was given. Throws Error where
  /// its texts do not fit the batches, or a switch comes after the last step.
  Task load();
};

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

}  // namespace minima

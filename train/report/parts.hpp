/// The parts of the report of a comparison: what they share, and each section.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/files/json.hpp"
#include "train/chart.hpp"
#include "train/html.hpp"
#include "train/metrics.hpp"

namespace minima::report {

using html::escaped, html::fixed, html::kMissing, html::shortest, html::significant;

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kMegabyte = 1 << 20;

// ---- Reading. What is missing is a null, what is not a number NaN. --------------------------

const Json& at(const Json& json, const char* path);
double as_number(const Json& json);
double number(const Json& json, const char* path);
std::vector<double> numbers(const Json& array);
std::string text(const Json& json, const char* path);

/// The runs of one optimizer with one set of options; they differ in their seeds.
struct Entry {
  std::string name;  ///< no other entry's: "adamw", "adamw → lion", "adamw:lr=1e-3", "clipped"
  std::string optimizer;  ///< "adamw", "adamw → lion"
  std::string spec;
  int style;
  std::vector<const Json*> runs;
  std::string failure;  ///< why none of its runs has ended: `runs` are as far as they came
};

struct Comparison {
  const Json& json;
  std::vector<Entry> entries;  ///< those with a run that has not failed; without any, `failed`
  std::vector<Entry> failed;   ///< the others
  std::size_t seeds = 0;       ///< the most that an entry has
  bool masked = false;         ///< pre-training: its accuracy is that at hidden tokens
  bool keeps_last = false;     ///< no score chooses the model
  bool by_label = false;       ///< entries are called by their folders, not by their optimizers
  bool own_loop = false;       ///< a run logged itself: its loss may be any
  /// There are entries, and none has a run that ended.
  bool all_failed() const { return !entries.empty() && !entries.front().failure.empty(); }
  /// The entries and those that failed.
  std::vector<Entry> all() const {
    std::vector<Entry> all = entries;
    if (!all_failed()) all.insert(all.end(), failed.begin(), failed.end());
    return all;
  }
};

Comparison read(const Json& json);
/// Whether the model of a comparison tells hidden tokens.
bool is_masked_lm(const Json& comparison);
/// Of the losses of all runs: "cross-entropy, nats", or "loss" where one's may be any.
const char* loss_unit(const Comparison& comparison);
/// Of a comparison: the runs that failed, but for those at a rate of tuning, and what tuning tried without any score.
std::vector<const Json*> failures(const Json& comparison);

/// "adamw:lr=1e-3" → "adamw".
std::string without_options(const std::string& spec);
/// Of a run's record: its spec, without the label that collect_runs adds.
std::string own_spec(const Json& run);
/// Of a run's record: what it is called beside others, "adamw:lr=0.001", with those that it changed to, "adamw:lr=0.001 →
/// adafactor", and its label, "adamw:lr=0.001 (clipped)".
std::string run_name(const Json& run);
/// An option that is not alike in all runs, and its value in each of the entries.
struct Difference {
  std::string option;
  std::vector<std::string> values;
};
/// Those that collect_runs has found; options of the command line come first.
std::vector<Difference> differences(const std::vector<Entry>& entries);
/// `first`, and the optimizers that this run changed to: "adamw → adafactor".
std::string with_changes(std::string first, const Json& run);
/// Of what is recorded before training (state, options), where it was of another optimizer then; else empty.
std::string before_change(const Entry& entry);
/// The changes of the optimizer, for charts over steps.
std::vector<chart::Mark> change_marks(const Comparison& comparison);

/// The part of the model that a tensor belongs to: "layer 0", "embeddings", "classifier".
std::string part_of(const std::string& tensor);

/// Mean and standard deviation of the finite values.
struct Summary {
  double mean = kNaN, deviation = 0;
  std::size_t count = 0, missing = 0;
};

/// None unless `json` is what a matrix gave.
std::optional<ConfusionMatrix> read_matrix(const Json& json);

/// Of the cores that the runs' threads were to have: how many other programs took of them at most, by what was recorded; 0
/// where nothing was.
double cores_taken(const Json& comparison, const std::vector<const Json*>& runs);
/// From so many on, times say little.
inline constexpr double kDisturbing = 0.2;

Summary summarize(const std::vector<double>& values);
Summary summarize(const Entry& entry, const char* path, double factor = 1);
/// Whether it is shown: a run has it, as a finite number, and it says something ("/best_epoch" where a score chooses).
bool is_shown(const Comparison& comparison, const char* path);

/// The mean over the seeds that came so far at each place where all of them have a value, with ± one deviation as a band.
struct Curve {
  std::vector<chart::Point> line;
  std::vector<chart::Interval> band;
};

/// The values of each run lie at 1, 2, …, or at its `positions`, which rise.
Curve over_seeds(const std::vector<std::vector<double>>& runs,
                 const std::vector<std::vector<double>>& positions = {});
/// The mean of the finite values within `reach` of each index.
std::vector<double> smoothed(const std::vector<double>& values, std::size_t reach);
/// A log scale where the values span so much that a linear one would hide most of them.
chart::Scale scale_for(std::vector<double> values, double span);

// ---- Writing. -------------------------------------------------------------------------------

std::string counted(std::size_t n, std::string_view noun);  ///< "1 seed", "3 seeds"
/// How many a run of the comparison has taken, and of how many where it has not taken all: "531 of 6,180 steps".
std::string steps_in_words(const Json& comparison, const Json& run);
std::string joined(const std::vector<std::string>& parts, std::string_view last = ", ");
// With no-break spaces: a number and its unit stay on one line.
std::string megabytes(double bytes);
std::string percent(double share);
/// Decimals of what is measured, wherever it is written.
inline constexpr int kMilliseconds = 2, kPeak = 1, kPercent = 1, kLoss = 3;
/// "83.1 ± 0.4", the deviation only of several.
std::string with_deviation(const Summary& s, int decimals);
/// "adamw 0.312, adafactor 0.354": each series at its last point.
std::string ends(const std::vector<chart::Series>& series, int decimals);
std::string bands_caption(const Comparison& comparison);
std::string marks_caption(const std::vector<chart::Mark>& marks);

std::string section(std::string_view id, std::string_view heading, const std::string& content);
std::string figure(std::string_view heading, const std::string& image, const std::string& caption);
/// Attributes of what is shown for a name, where it is not the whole: that one for the pointer and aloud.
std::string whole_name(const std::string& name, const std::string& shown);
/// The head of each entry's row, its name.
std::vector<std::string> row_heads(const Comparison& comparison);
/// A table of these classes: `heads` are those of its columns, `rows` what row() gave. HTML, all of it.
std::string table(std::string_view classes, const std::string& caption,
                  const std::vector<std::string>& heads, const std::string& rows);
std::string row(const std::string& head, const std::vector<std::string>& cells);
/// A wide thing that scrolls by itself, also by keyboard.
std::string scrolling(std::string_view name, const std::string& content);
enum class Print { whole, folded };  ///< what is folded stays so in print, unless it is opened
std::string details(std::string_view summary, const std::string& content,
                    Print print = Print::whole);
std::string plain(const Json& value);
/// The members of an object as a list. After it stand those that are lists of objects, one by one,
/// and the one named `large`, to be unfolded.
std::string definitions(const Json& object, std::string_view large = {});

/// A chart by step of an array that each run has, smoothed over a fortieth of its length.
struct StepChart {
  const char *key, *heading;
  chart::Label label;  ///< the last values are added to its description
  chart::Axis y;
  std::string caption;  ///< before what is said of means
  bool share = false;   ///< in percent; else what was smoothed stands behind, and seeds have bands
  double span = 30;     ///< of what is no share: a log scale from so many times the least on
  std::vector<chart::Rule> rules = {};
};
std::string step_chart(const Comparison& comparison, const StepChart& shown);

// ---- The sections, in their order; empty where there is nothing to show. --------------------

std::string title(const Comparison& comparison);
/// Whether the header tells a standard error of accuracies.
bool tells_error(const Comparison& comparison);
std::string header(const Comparison& comparison);
std::string differences_section(const Comparison& comparison);
std::string results_section(const Comparison& comparison);
std::string curves_section(const Comparison& comparison);
std::string watching_section(const Comparison& comparison);
std::string state_section(const Comparison& comparison);
std::string confusion_section(const Comparison& comparison);
std::string worst_section(const Comparison& comparison);
std::string setup_section(const Comparison& comparison);

}  // namespace minima::report

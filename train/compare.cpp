#include "train/compare.hpp"

#include <cmath>

#include "core/files/checksum.hpp"
#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "core/text/columns.hpp"
#include "core/text/grouped.hpp"
#include "data/naive_bayes.hpp"
#include "train/find_lr.hpp"
#include "train/finetuning.hpp"
#include "train/interrupt.hpp"
#include "train/machine.hpp"
#include "train/report.hpp"
#include "train/report/parts.hpp"
#include "train/run_record.hpp"

namespace minima {
namespace {

Json describe_data(const Task& task) {
  const Dataset& data = task.dataset;
  const NaiveBayes bag_of_words(data.train, static_cast<i64>(data.label_names.size()));
  const Overlaps& overlaps = task.overlaps;
  return {{"name", data.name},
          {"origin", data.origin},
          {"train", data.train.size()},
          {"dev", data.dev.size()},
          {"test", data.test.size()},
          {"labels", data.label_names},
          {"bag_of_words",
           {{"dev", bag_of_words.accuracy(data.dev)}, {"test", bag_of_words.accuracy(data.test)}}},
          {"overlaps",
           {{"dev_in_train", overlaps.dev_in_train},
            {"test_in_train", overlaps.test_in_train},
            {"test_in_dev", overlaps.test_in_dev}}},
          {"conflicts", {{"texts", overlaps.conflicts.texts}, {"rows", overlaps.conflicts.rows}}}};
}

Json describe_model(const Task& task) {
  nn::Classifier model(task.config);
  return {{"name", task.model_name},
          {"parameters", model.parameter_count()},
          {"tensors", model.parameters().size()},
          {"config", task.config.to_json()}};
}

/// A folder name for a run: "adamw-seed1", "adamw-lr=1e-3-seed1". Where letters had to be replaced or the name
/// cut, a checksum of the spec is appended.
std::string folder_name(const std::string& spec, u64 seed) {
  constexpr std::size_t kLongest = 100;
  std::string name = spec.substr(0, kLongest);
  std::ranges::replace(name, ':', '-');
  const auto unfit = [](char c) { return c == '/' || c == '|' || c == '\n'; };
  if (std::ranges::any_of(name, unfit) || spec.size() > kLongest) {
    std::ranges::replace_if(name, unfit, '-');
    Checksum sum;
    sum.add(spec);
    name += "-" + sum.digits().substr(0, 8);
  }
  return fmt::format("{}-seed{}", name, seed);
}

/// What collect_runs has found to differ: a line per option; empty where nothing does.
std::string differences_table(const Json& json) {
  const std::vector<report::Entry> all = report::read(json).all();
  const std::vector<report::Difference> rows = report::differences(all);
  if (rows.empty()) return "";
  std::vector<std::vector<std::string>> lines{{"what differs"}};
  for (const report::Entry& entry : all) lines[0].push_back(entry.name);
  for (const report::Difference& row : rows) {
    lines.push_back({row.option});
    lines.back().insert(lines.back().end(), row.values.begin(), row.values.end());
  }
  return "\n" + in_columns(lines, "lr");
}

/// One column of the table: its head, and the text for all runs of one optimizer.
struct Column {
  const char* head;
  std::function<std::string(const std::vector<const Json*>&)> text;
};

/// mean ± deviation of a number over the runs that have it, times `scale`: one that has not ended has no test.
Column number(const char* head, const char* path, double scale, int digits) {
  return {head, [=](const std::vector<const Json*>& runs) {
            std::vector<double> all;
            for (const Json* run : runs) all.push_back(scale * report::number(*run, path));
            const report::Summary s = report::summarize(all);
            if (s.count == 0) return std::string("–");
            std::string text = fmt::format("{:.{}f}", s.mean, digits);
            if (s.count > 1) text += fmt::format(" ± {:.{}f}", s.deviation, digits);
            return text;
          }};
}

/// One that is alike in all.
Column count(const char* head, const char* path) {
  return {head, [=](const std::vector<const Json*>& runs) {
            for (const Json* run : runs)
              if (const double n = report::number(*run, path); std::isfinite(n))
                return grouped(static_cast<i64>(n));
            return std::string("–");
          }};
}

}  // namespace

std::vector<std::string> resolved_specs(const ComparisonOptions& options) {
  check(!options.optimizers.empty(), "compare: no optimizer is named");
  check(options.rates > 0 && options.rates <= 99,
        "compare: {} learning rates to tune with; it must be between 1 and 99", options.rates);
  check(options.seeds > 0 && options.seeds <= 1000,
        "compare: {} seeds; it must be between 1 and 1,000", options.seeds);
  if (options.rates > 1) refuse_own_rates(options.training.groups, "--tune");
  std::vector<std::string> specs;
  std::vector<Json> resolved;
  for (const std::string& optimizer : options.optimizers) {
    specs.push_back(with_defaults(optimizer));
    Json all = validate_optimizer(specs.back(), options.training);
    if (options.rates > 1) {
      check(learning_rate(specs.back()) != 0.0,
            "compare: --tune tries multiples of a learning rate; that of '{}' is 0", optimizer);
      for (Json& group : all["groups"]) group["options"].erase("lr");
    }
    const auto same = std::ranges::find(resolved, all);
    check(same == resolved.end(),
          "compare: '{}' and '{}' are one optimizer with the same options{}; leave one out",
          same == resolved.end() ? "" : options.optimizers[same - resolved.begin()], optimizer,
          options.rates > 1 ? " but the learning rate, which --tune searches" : "");
    resolved.push_back(std::move(all));
  }
  return specs;
}

Json describe_comparison(const Task& task, const TrainingOptions& training, i64 seeds) {
  Json list = Json::array(), described = to_json(training);
  for (i64 i = 0; i < seeds; ++i) list.push_back(training.seed + static_cast<u64>(i));
  described.erase("seed");
  described.update(
      {{"seeds", std::move(list)},
       {"by_steps", training.steps > 0},  // else by epochs, from which the steps follow
       {"steps", total_steps(shuffled(task.data.train, training.batch, training.seed), training)},
       {"vocabulary", task.config.vocabulary},
       {"max_length", task.max_length}});
  return {{"data", describe_data(task)},
          {"model", describe_model(task)},
          {"training", std::move(described)},
          {"machine", describe_machine().to_json()},
          {"runs", Json::array()},
          {"failed", Json::array()}};
}

void write_report(Json& comparison, const std::filesystem::path& directory) {
  comparison["report"] = (directory / "report.html").string();
  write_file(directory / "comparison.json", comparison.dump(1) + "\n");
  write_file(directory / "report.html", report_html(comparison));
}

namespace {

/// The spec at `n` rates: its own times √10 to the n powers from −n/2 on; one without a learning rate stands alone.
std::vector<std::string> at_rates(const std::string& spec, i64 n) {
  const std::optional<double> own = learning_rate(spec);
  if (!own || n == 1) return {spec};
  std::vector<std::string> specs;
  for (i64 i = 0; i < n; ++i) {
    const i64 power = i - n / 2;
    specs.push_back(power == 0 ? spec
                               : with_learning_rate(
                                     spec, *own * std::pow(10, 0.5 * static_cast<double>(power))));
  }
  return specs;
}

/// Of its sizes and weights.
std::string fingerprint(nn::Classifier& model) {
  const std::string sizes = model.config.to_json().dump();
  Checksum sum;
  sum.add(sizes);
  for (const Parameter* parameter : model.parameters()) {
    const Tensor values = parameter->value.to(Device{});
    sum.add(values.raw(), values.bytes());
  }
  return sum.digits();
}

/// Of those that a resumed run must have again.
std::string fingerprint(const TrainingOptions& options) {
  Checksum sum;
  const Json all = to_json(options);
  for (const auto& [key, value] : all.items())
    if (!is_free(key)) sum.add(key + value.dump());
  return sum.digits();
}

class Comparison {
 public:
  Comparison(const Task& task, const ComparisonOptions& options, const ComparisonObserver& observer)
      : task_(task), options_(options), observer_(observer), specs_(resolved_specs(options)) {
    // What the machine cannot hold is refused before anything is made, a name that no parameter has before anything is
    // written.
    for (const std::string& spec : specs_) check_fits(task, spec, options.training);
    const auto model = task.new_model(options.training.seed);
    freeze(model->parameters(), options.training.freeze);
    for (const std::string& spec : specs_)
      parameter_groups(model->parameters(), spec, options.training);
    if (!options.directory.empty()) {
      fingerprints_ = fingerprints(task.data);
      fingerprints_["model"] = fingerprint(*model);
      fingerprints_["options"] = fingerprint(options.training);
    }
    result_ = describe_comparison(task, options.training, options.seeds);
    for (const std::string& spec : specs_)
      for (const std::string& variant : at_rates(spec, options.rates))
        for (i64 i = 0; i < options.seeds; ++i)
          unfinished_.push_back({{"spec", variant}, {"seed", seed(i)}});
  }

  Json run() {
    begin_folder();
    if (options_.rates > 1) result_["tuning"] = Json::array();
    for (const std::string& spec : specs_)
      for (Json& run : options_.rates > 1 ? tune(spec) : train_all_seeds(spec))
        result_["runs"].push_back(std::move(run));
    if (result_["runs"].empty()) {
      write_so_far();
      const Json& failed = result_["failed"];
      fail_training("{}", failed.empty() ? "compare: no run has a finite score on dev"
                                         : failed[0]["error"].get<std::string>());
    }
    // Seed by seed, as they were compared.
    std::ranges::stable_sort(result_["runs"].get_ref<Json::array_t&>(), {},
                             [](const Json& run) { return run["seed"].get<u64>(); });
    if (!options_.directory.empty()) write_report(result_, options_.directory);
    return std::move(result_);
  }

 private:
  u64 seed(i64 i) const { return options_.training.seed + static_cast<u64>(i); }

  void begin_folder() const {
    if (options_.directory.empty()) return;
    if (options_.resume) {
      Json begun = read_run(options_.directory, nullptr);
      if (begun.contains("fingerprints")) check_unchanged(fingerprints_, begun["fingerprints"]);
      if (!options_.arguments.is_null())  // of which the minutes may be others
        begun["arguments"] = options_.arguments;
      write_run(options_.directory, begun);
      remove_report(options_.directory, observer_.training.say);
      return;
    }
    refuse_used_folder(options_.directory);
    make_folders(options_.directory);
    write_run(options_.directory,
              {{"arguments", options_.arguments}, {"fingerprints", fingerprints_}});
  }

  /// What there is should the comparison be stopped.
  void write_so_far() const {
    if (options_.directory.empty()) return;
    Json so_far = result_;
    so_far.update({{"runs", ended_}, {"unfinished", unfinished_}});
    write_report(so_far, options_.directory);
  }

  /// The runs of an optimizer that have not failed.
  std::vector<Json> train_all_seeds(const std::string& spec) {
    std::vector<Json> runs;
    for (i64 i = 0; i < options_.seeds; ++i) {
      const auto folder = options_.directory.empty()
                              ? options_.directory
                              : options_.directory / folder_name(spec, seed(i));
      std::optional<Json> run = ended_before(folder, spec, seed(i));
      if (!run) run = train(spec, seed(i), folder);
      if (run) {
        ended_.push_back(*run);
        runs.push_back(std::move(*run));
      }
      unfinished_.erase(std::ranges::find(unfinished_, Json{{"spec", spec}, {"seed", seed(i)}}));
    }
    return runs;
  }

  static std::filesystem::path record_of(const std::filesystem::path& folder) {
    return folder / "record.json";  // there when the run has ended
  }

  /// Whether a run whose time was up is given more now, or had been given more when it was stopped again.
  bool has_more_time(const std::filesystem::path& folder) const {
    const Json run = read_run(folder, nullptr);
    const double now = options_.training.minutes;
    return !run.contains("stop") || now == 0 || now > report::number(run, "/training/minutes");
  }

  /// The record of a run that the resumed comparison has finished.
  std::optional<Json> ended_before(const std::filesystem::path& folder, const std::string& spec,
                                   u64 seed) const {
    const std::filesystem::path file = record_of(folder);
    if (!options_.resume || !is_there(file)) return {};
    try {
      Json record = read_json(file);
      for (const char* key : {"spec", "seed", "dev", "test"})
        check(record.is_object() && record.contains(key), "{}: has no \"{}\"", file.string(), key);
      check(record["spec"] == spec && record["seed"] == seed,
            "{}: is of {} with seed {}, not of {} with seed {}", file.string(),
            record["spec"].dump(), record["seed"].dump(), spec, seed);
      for (const char* scores : {"dev", "test"}) Evaluation::from_json(record[scores]);
      if (report::text(record, "/stop") == stop_name(Stop::minutes) && has_more_time(folder))
        return {};
      return record;
    } catch (const Error& error) {
      if (observer_.training.say)
        observer_.training.say(fmt::format("{}: that run is taken as not ended", error.what()));
      return {};
    }
  }

  /// None for a run that failed, which is noted.
  std::optional<Json> train(const std::string& spec, u64 seed,
                            const std::filesystem::path& folder) {
    write_so_far();
    if (observer_.begin) observer_.begin(spec, seed);
    TrainingOptions training = options_.training;
    training.seed = seed;
    const bool begun =
        options_.resume && (is_there(folder / "run.json") || is_there(folder / "checkpoints"));
    try {
      RunDirectory directory(folder, begun);
      if (!folder.empty())
        directory.report = [&](const Json& record) {
          write_file(record_of(folder), record.dump() + "\n");
        };
      Run run = run_training(task_, spec, training, directory, observer_.training);
      if (run.result.stop == Stop::interrupted)
        throw Interrupted(fmt::format("interrupted; the run is saved in {}", folder.string()));
      return std::move(run.record);
    } catch (const Error& error) {
      const bool by_itself = dynamic_cast<const TrainingFailed*>(&error);
      // A disk that is full is so for the other runs too.
      if (!(by_itself || error.fault == Fault::memory) || InterruptRequests::received()) throw;
      Json failed = Json::object();
      if (options_.rates > 1)
        failed["tried"] = true;
      else if (by_itself && !folder.empty())  // as far as it came
        failed = describe_log(folder)["failed"][0];
      failed.update({{"spec", spec}, {"seed", seed}, {"error", error.what()}});
      result_["failed"].push_back(std::move(failed));
      return {};
    }
  }

  /// The runs at the learning rate that is best on dev; none where a run failed at every rate.
  std::vector<Json> tune(const std::string& spec) {
    const std::string metric = options_.training.metric.empty() ? "loss" : options_.training.metric;
    std::vector<Json> best;
    std::pair<double, double> best_rank;  // the score and, of equals, the loss; more is better
    double worst = 0;
    Json tried = Json::array();
    for (const std::string& variant : at_rates(spec, options_.rates)) {
      std::vector<Json> runs = train_all_seeds(variant);
      tried.push_back({{"spec", variant}, {"score", nullptr}});
      if (std::ssize(runs) < options_.seeds) continue;
      std::vector<double> scores, losses;
      for (const Json& run : runs) {
        const Evaluation dev = Evaluation::from_json(run["dev"]);
        scores.push_back(dev.score(metric)), losses.push_back(dev.loss);
      }
      const double score = mean(scores);
      if (!std::isfinite(score)) continue;
      tried.back()["score"] = score;
      const std::pair rank{higher_is_better(metric) ? score : -score, -mean(losses)};
      worst = best.empty() ? rank.first : std::min(worst, rank.first);
      if (best.empty() || rank > best_rank) best = std::move(runs), best_rank = rank;
    }
    result_["tuning"].push_back({{"spec", best.empty() ? Json(spec) : best.front()["spec"]},
                                 {"metric", metric},
                                 {"tried", std::move(tried)},
                                 {"spread", best_rank.first - worst}});
    return best;
  }

  const Task& task_;
  Fingerprints fingerprints_;
  const ComparisonOptions& options_;
  const ComparisonObserver& observer_;
  const std::vector<std::string> specs_;
  Json result_, ended_ = Json::array(), unfinished_ = Json::array();
};

}  // namespace

Json compare(const Task& task, const ComparisonOptions& options,
             const ComparisonObserver& observer) {
  return Comparison(task, options, observer).run();
}

std::vector<std::string> failed_optimizers(const Json& comparison) {
  std::vector<std::string> specs;
  for (const Json* failure : report::failures(comparison))
    if (const auto spec = report::text(*failure, "/spec");
        std::ranges::find(specs, spec) == specs.end())
      specs.push_back(spec);
  return specs;
}

std::string comparison_table(const Json& comparison) {
  std::vector<std::string> specs;
  std::map<std::string, std::vector<const Json*>> runs;
  for (const Json& run : comparison["runs"]) {
    const auto spec = run["spec"].get<std::string>();
    if (runs[spec].empty()) specs.push_back(spec);
    runs[spec].push_back(&run);
  }
  const double mb = 1.0 / (1 << 20);
  std::vector<Column> columns = {
      {"optimizer", [](const auto& of) { return report::run_name(*of.front()); }},
      count("state elements", "/state_elements"),
      count("state bytes", "/state_bytes"),
      number("step ms", "/step_ms", 1, 2),
      number("tokens/s", "/tokens_per_second", 1, 0),
      number("peak MB", "/peak_bytes", mb, 1),
      number("dev %", "/dev/accuracy", 100, 1)};
  if (report::is_masked_lm(comparison))
    columns.push_back(number("dev perplexity", "/dev/perplexity", 1, 1));
  else
    columns.insert(columns.end(), {number("test %", "/test/accuracy", 100, 1),
                                   number("test F1", "/test/macro_f1", 100, 1),
                                   number("test loss", "/test/loss", 1, 3)});
  const auto skipped = [](const Json& run) { return report::number(run, "/skipped") > 0; };
  if (std::ranges::any_of(comparison["runs"], skipped))
    columns.push_back(number("skipped steps", "/skipped", 1, 0));

  std::vector<std::vector<std::string>> lines(1);
  for (const Column& column : columns) lines[0].push_back(column.head);
  for (const std::string& spec : specs) {
    lines.emplace_back();
    for (const Column& column : columns) lines.back().push_back(column.text(runs[spec]));
  }
  for (const std::string& spec : failed_optimizers(comparison)) {
    if (!runs.try_emplace(spec).second) continue;
    lines.emplace_back(columns.size(), "–");
    lines.back()[0] = spec, lines.back()[1] = "failed";
  }
  std::string text = in_columns(lines, "lr");
  double others = 0;
  for (const auto& [spec, of] : runs)
    others = std::max(others, report::cores_taken(comparison, of));
  if (others > report::kDisturbing)
    text += fmt::format(
        "other programs took up to {:.1f} of the cores that training was to have: its times say "
        "little\n",
        others);
  return text + differences_table(comparison);
}

}  // namespace minima

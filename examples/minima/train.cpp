/// minima train: one classifier from labelled text.
#include "core/files/file.hpp"
#include "examples/minima/notes.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/progress.hpp"
#include "examples/minima/run_folder.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "train/compare.hpp"
#include "train/find_lr.hpp"
#include "train/finetuning.hpp"
#include "train/interrupt.hpp"
#include "train/report.hpp"
#include "train/run_record.hpp"

namespace minima {
namespace {

struct TrainVerb {
  CommonOptions common;
  TrainingVerbOptions training;
  std::string optimizer = "adamw", state;
  std::optional<double> lr;
  std::vector<std::string> switches;
  std::string resumed;
  bool find_lr = false;

  /// --lr and --state are options of the optimizer, written beside it for convenience.
  std::string spec() const {
    std::string text = optimizer;
    if (!state.empty()) text = with_option(text, "state", state);
    return training.resolve_spec(text, lr);
  }

  /// Whether a spec neither names a storage nor, as adamw8bit does, implies one.
  static bool leaves_storage_open(const std::string& spec) {
    return !has_option(spec, "state") && validate_optimizer(spec, {})["storage"]["state"] == "fp32";
  }

  /// Where the best is not chosen by what is printed anyway.
  std::string by_metric(const Evaluation& dev) const {
    const std::string& metric = training.training.metric;
    return metric == "accuracy" ? ""
                                : fmt::format(" (by {} on dev, {:.3f})", metric, dev.score(metric));
  }

  /// What counting words achieves, and what to think of a model that does not.
  static std::string yardstick(const Json& bag_of_words, double accuracy) {
    const double words = bag_of_words["test"].get<double>();
    return fmt::format(
        "for scale: a bag of words (naive Bayes) has {:.1f} % on test{}\n", 100 * words,
        words > accuracy ? ", more than this model: more texts, longer training, another "
                           "learning rate (--find-lr) or a pre-trained model may help"
                         : "");
  }

  /// Fills training.switches, with what the options beside --switch say of each.
  void resolve_switches() {
    for (const std::string& text : switches) {
      OptimizerSwitch next = OptimizerSwitch::parse(text);
      if (lr && !has_option(next.spec, "lr"))
        print_note("note: --lr {} is that of {}; --switch {} has its own, {}\n", *lr, optimizer,
                   text, training.resolve_spec(next.spec));
      next.spec = training.resolve_spec(next.spec);
      if (!state.empty() && leaves_storage_open(next.spec))
        next.spec = with_option(next.spec, "state", state);
      training.training.switches.push_back(std::move(next));
    }
  }

  void print(const Run& done, const Json& report, const Task& task,
             const std::filesystem::path& model) const {
    const auto percent = [&](const char* part) {
      return 100 * done.result.time[part].get<double>();
    };
    print_text(
        "\ntime {:.1f} s: steps {:.2f} %, evaluation {:.2f} %, checkpoints {:.2f} %, logging "
        "{:.2f} %, the loop {:.2f} %\n",
        done.result.time["seconds"].get<double>(), percent("steps"), percent("evaluation"),
        percent("checkpoints"), percent("logging"), percent("loop"));
    for (const std::string& flaw : {skipped_steps(done.record), always_one_class(done.record)})
      if (!flaw.empty()) print_text("\n{}\n", flaw);
    print_text(
        "\nbest epoch {}{}: dev accuracy {:.1f} %, test accuracy {:.1f} %, macro-F1 {:.1f} %, loss "
        "{:.3f}\n{}\n{}\nmodel: {}\nreport: {}\n",
        done.result.best_epoch(), by_metric(done.result.dev()), 100 * done.result.dev().accuracy(),
        100 * done.test.accuracy(), 100 * done.test.macro_f1(), done.test.loss,
        yardstick(report["data"]["bag_of_words"], done.test.accuracy()),
        table(done.test, task.dataset.label_names), model.string(),
        report["report"].get<std::string>());
    if (const std::string warning = task.config.export_warning(); !warning.empty())
      print_text("note: {}\n", warning);
  }

  void find_learning_rates();

  void run() {
    common.apply();
    resolve_switches();
    training.resolve(common);
    if (find_lr) return find_learning_rates();
    check(optimizer.substr(0, optimizer.find(':')).find(',') == std::string::npos,
          "--optimizer {}: train takes one; minima compare --optimizers takes several", optimizer);
    std::string resolved = spec();
    validate_optimizer(resolved, training.training);  // before anything is loaded
    const RunFolder folder("train", common, resumed);
    if (folder.tell_ended(common)) return;
    resolved = folder.spec_or(resolved);
    RunDirectory directory{folder.path, folder.resumes, common.arguments()};
    const Task task = training.load();

    common.tell(directory.path);
    tell_of_spec(resolved);
    for (const OptimizerSwitch& next : training.training.switches) tell_of_spec(next.spec);
    Progress progress;
    progress.begin(resolved);
    const InterruptRequests ctrl_c;
    Json report;
    directory.report = [&](const Json& record) {
      report = describe_comparison(task, training.training, 1);
      report[record.contains("error") ? "failed" : "runs"].push_back(record);
      write_report(report, directory.path);
    };
    const Run done = folder.work([&] {
      try {
        return run_training(task, resolved, training.training, directory, progress.callback());
      } catch (const TrainingFailed&) {
        progress.end();
        directory.report(describe_log(directory.path)["failed"][0]);
        print_note("report: {}\n", report["report"].get<std::string>());
        throw;
      }
    });
    progress.end();
    if (done.result.stop == Stop::interrupted) die_of_interrupt("train", directory.path);
    if (common.json) {
      Json record = done.record;
      record["model"] = (directory.path / "final").string();
      record["report"] = report["report"];
      record["overlaps"] = report["data"]["overlaps"];
      record["conflicts"] = report["data"]["conflicts"];
      record["arguments"] = directory.arguments;
      return fmt::print("{}\n", record.dump());
    }
    folder.tell_stopped(done.result.epoch, done.result.stop);
    print(done, report, task, directory.path / "final");
  }
};

/// The curve of each optimizer, as text and in DIRECTORY/learning_rates.{html,json}; nothing is trained to its end.
void TrainVerb::find_learning_rates() {
  // What a search does not heed, and the way out.
  const std::pair<std::vector<std::string>, const char*> unheeded[] = {
      {{"lr"}, "the search tries learning rates itself"},
      {{"resume"}, "a search starts anew"},
      {{"switch"}, "search each optimizer by itself"},
      {{"accumulate"}, "give the step's whole batch, --batch or --tokens"},
      {{"schedule", "warmup"}, "the search has a schedule of its own; leave it out"},
      {{"epochs", "steps", "minutes", "evaluate-every", "metric", "patience", "save-every", "keep",
        "non-finite", "watch"},
       "the search goes on until the loss blows up, and keeps its curve alone; leave it out"}};
  for (const auto& [options, way_out] : unheeded)
    for (const std::string& option : options)
      check(common.verb->count("--" + option) == 0, "--find-lr and --{} exclude one another: {}",
            option, way_out);
  refuse_own_rates(training.training.groups, "--find-lr");
  std::vector<std::string> specs;
  for (const std::string& one : split_specs("--optimizer", {optimizer})) {
    check(!has_option(one, "lr"), "--find-lr and the lr of {} exclude one another: {}", one,
          unheeded[0].second);
    specs.push_back(training.resolve_spec(state.empty() ? one : with_option(one, "state", state)));
    validate_optimizer(specs.back(), training.training);
  }
  std::optional<FolderLock> lock(output_folder("find-lr", common));
  const std::filesystem::path directory = lock->path();
  for (const char* file : {"learning_rates.json", "learning_rates.html"})
    check(!is_there(directory / file),
          "{}: has the curves of an earlier search; name another folder, or remove this one first",
          directory.string());
  const Task task = training.load();
  for (const std::string& spec : specs) check_fits(task, spec, training.training);
  std::vector<LearningRateCurve> curves;
  Json all = Json::array();
  std::vector<std::string> failed;
  const InterruptRequests ctrl_c;
  for (const std::string& spec : specs) {
    const auto model = task.new_model(training.training.seed);
    freeze(model->parameters(), training.training.freeze);
    try {
      curves.push_back(
          find_learning_rate(classification(*model, task.data, training.training, &task.tokenizer),
                             spec, training.training));
    } catch (const TrainingFailed& failure) {  // the others may have one
      if (specs.size() == 1) throw;
      print_note("minima: {}\n", failure.what());
      failed.push_back(spec);
      continue;
    } catch (const Error&) {
      if (InterruptRequests::received()) break;
      throw;
    }
    all.push_back(curves.back().to_json());
    write_file(directory / "learning_rates.json", all.dump(1) + "\n");
    write_file(directory / "learning_rates.html", find_lr_page(curves));
    if (!common.json) print_text("{}\n", curves.back().text());
  }
  if (InterruptRequests::received()) {
    lock.reset();  // and with it goes the folder, where it is new and empty
    die_of_interrupt(curves.empty() ? "stopped before the first curve was whole; nothing is written"
                                    : fmt::format("stopped; {} of {} curves are in {}",
                                                  curves.size(), specs.size(), directory.string()));
  }
  if (common.json)
    fmt::print("{}\n", all.dump());
  else if (!curves.empty())
    print_text("curves: {}\n", (directory / "learning_rates.html").string());
  if (!failed.empty())
    fail_at_run_time("find-lr: no rate is found for {}{}", fmt::join(failed, ", "),
                     curves.empty() ? "" : "; the others have their curves");
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("train", "train a classifier and write its model directory");
  const auto options = std::make_shared<TrainVerb>();
  options->common.add_to(verb);
  options->common.add_device(verb);
  options->training.add_to(verb);
  verb.add_option("--optimizer", options->optimizer,
                  "with its options: adamw:lr=3e-4:weight_decay=0.1")
      ->capture_default_str();
  verb.add_option("--lr", options->lr, "learning rate");
  verb.add_option("--state", options->state,
                  "storage of the optimizer's state, and of that of a --switch which says nothing "
                  "else: fp32, bf16, block8");
  verb.add_option("--switch", options->switches,
                  "another optimizer after a step or a share of all: 50%:adafactor (repeatable)")
      ->allow_extra_args(false);
  verb.add_flag(
      "--find-lr", options->find_lr,
      "search a learning rate for --optimizer (one, or several with commas) instead of training");
  verb.add_option("--resume", options->resumed,
                  "go on with the run of this folder, from its newest whole checkpoint");
  verb.callback([options] { options->run(); });
}

}  // namespace minima

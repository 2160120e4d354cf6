/// minima compare: the main job (train/compare.hpp).
#include "train/compare.hpp"

#include "examples/minima/notes.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/progress.hpp"
#include "examples/minima/run_folder.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "train/interrupt.hpp"
#include "train/report.hpp"

namespace minima {
namespace {

struct CompareVerb {
  CommonOptions common;
  TrainingVerbOptions training;
  ComparisonOptions comparison;
  std::string resumed;

  Json compare_or_stop(const Task& task, Progress& progress) const {
    const InterruptRequests ctrl_c;
    try {
      return compare(task, comparison,
                     {[&](const std::string& spec, u64 seed) {
                        progress.begin(fmt::format("{} seed {}", spec, seed));
                      },
                      progress.callback()});
    } catch (const Interrupted&) {
      progress.end();
      die_of_interrupt("compare", comparison.directory);
    } catch (const Error&) {
      progress.end();
      throw;
    }
  }

  void run() {
    common.apply();
    training.resolve(common);
    comparison.optimizers = split_specs("--optimizers", comparison.optimizers);
    for (std::string& spec : comparison.optimizers) spec = training.resolve_spec(spec);
    comparison.training = training.training;
    resolved_specs(comparison);  // refuses a wrong one before anything is loaded
    const RunFolder folder("compare", common, resumed);
    comparison.directory = folder.path;
    comparison.resume = folder.resumes;
    comparison.arguments = common.arguments();
    const Task task = training.load();
    comparison.training = training.training;  // with its number of epochs

    common.tell(folder.path);
    for (const std::string& spec : comparison.optimizers) tell_of_spec(spec);
    Progress progress;
    Json result = folder.work([&] { return compare_or_stop(task, progress); });
    for (const std::string& one : what_it_lacks(result)) print_note("minima: {}\n", one);
    if (std::ranges::any_of(result["runs"], [](const Json& run) {
          return run["stop"] == stop_name(Stop::minutes);
        }))
      print_note("{}\n", folder.way_on());
    result["arguments"] = comparison.arguments;
    if (common.json)
      fmt::print("{}\n", result.dump());
    else
      print(result);
    if (const std::vector<std::string> failed = failed_optimizers(result); !failed.empty())
      fail_at_run_time("compare: runs of {} failed; all others are done", fmt::join(failed, ", "));
  }

  static void print(const Json& result) {
    const Json &data = result["data"], &model = result["model"];
    print_text(
        "\n{}: {} training, {} dev, {} test texts, {} classes; model {}: {} parameters; state: MB "
        "= 2^20 bytes\n\n{}\n",
        data["name"].get<std::string>(), data["train"].get<i64>(), data["dev"].get<i64>(),
        data["test"].get<i64>(), data["labels"].size(), model["name"].get<std::string>(),
        model["parameters"].get<i64>(), comparison_table(result));
    if (const std::vector<std::string> tuned = what_was_tuned(result); !tuned.empty())
      print_text("{}\n\n", fmt::join(tuned, "\n"));
    print_text("bag of words (naive Bayes): dev {:.1f} %, test {:.1f} %\nreport: {}\n",
               100 * data["bag_of_words"]["dev"].get<double>(),
               100 * data["bag_of_words"]["test"].get<double>(),
               result["report"].get<std::string>());
  }
};

}  // namespace

void add_compare(CLI::App& app) {
  CLI::App& verb =
      *app.add_subcommand("compare", "train the same model once per optimizer and compare");
  const auto options = std::make_shared<CompareVerb>();
  options->common.add_to(verb);
  options->common.add_device(verb);
  options->training.add_to(verb);
  verb.add_option("--optimizers", options->comparison.optimizers,
                  "optimizers with their options: adamw,adafactor:lr=1e-2,sgd")
      ->capture_default_str();
  verb.add_option("--seeds", options->comparison.seeds, "runs per optimizer, with seed, seed+1, …")
      ->capture_default_str();
  verb.add_option("--tune", options->comparison.rates,
                  "learning rates that each optimizer is tried with, its own and others around it; "
                  "the best is compared")
      ->capture_default_str();
  verb.add_option("--resume", options->resumed,
                  "go on with the comparison of this folder: finished runs are kept");
  verb.callback([options] { options->run(); });
}

}  // namespace minima

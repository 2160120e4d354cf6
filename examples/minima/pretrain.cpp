/// minima pretrain: a masked language model from plain text, for `train --model` to go on with.
#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "data/texts.hpp"
#include "examples/minima/notes.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/progress.hpp"
#include "examples/minima/run_folder.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "train/collect.hpp"
#include "train/interrupt.hpp"
#include "train/model_directory.hpp"
#include "train/pretraining.hpp"
#include "train/report.hpp"
#include "train/run.hpp"
#include "train/run_record.hpp"

namespace minima {
namespace {

/// Passes over the texts: a language model has far more to learn from each than a classifier.
constexpr i64 kEpochs = 20;

/// The run's own page.
std::filesystem::path write_page(const std::filesystem::path& run) {
  const std::filesystem::path page = run / "report.html";
  write_file(page, report_html(collect_runs({run})));
  return page;
}

struct PretrainVerb {
  CommonOptions common;
  TrainingVerbOptions training;
  MaskingOptions masking;
  std::string optimizer = "adamw";
  std::optional<double> lr;
  std::string resumed;

  std::string spec() const { return training.resolve_spec(optimizer, lr); }

  std::unique_ptr<nn::MaskedLm> new_model(const Task& task) const {
    if (!task.pretrained) {
      auto model = std::make_unique<nn::MaskedLm>(task.config);
      model->initialize(common.seed);
      model->to(common.place());
      return model;
    }
    auto [model, notes] = pretrained_masked_lm(*task.pretrained, task.config, common.seed);
    for (const std::string& note : notes) print_note("{}\n", note);
    model->to(common.place());
    return std::move(model);
  }

  void run() {
    common.apply();
    training.resolve(common);
    training.training.metric = "";  // the last model is kept: no score tells what it is good for
    std::string resolved = spec();
    validate_optimizer(resolved, training.training);
    masking.seed = common.seed;
    const RunFolder folder("pretrain", common, resumed);
    // The page is the last that a run writes.
    if (folder.resumes && has_ended(folder.path) && !is_there(folder.path / "report.html"))
      write_page(folder.path);
    if (folder.tell_ended(common)) return;
    resolved = folder.spec_or(resolved);
    const RunDirectory directory{folder.path, folder.resumes, common.arguments()};

    Task task = prepare(
        training.task, load_texts(training.task.data, training.task.split_seed, training.task.read),
        Texts::plain);
    const Vocabulary& vocabulary = task.tokenizer.vocabulary();
    const Masking hide(vocabulary, masking);
    check_fits(task, resolved, training.training, Texts::plain);
    const PretrainingData data{std::move(task.data.train), std::move(task.data.dev)};
    const i64 live_before = memory_stats(task.device).live;
    const std::unique_ptr<nn::MaskedLm> made = new_model(task);
    nn::MaskedLm& model = *made;
    const Objective objective =
        masked_language_modelling(model, data, hide, training.training, &task.tokenizer);
    training.choose_epochs(kEpochs, objective.batches);
    print_note("{}\n{} parameters, {} texts of {} tokens\n", task.dataset.origin,
               model.parameter_count(), data.train.size(), data.train.tokens.size());
    tell_of_unknown(task);
    tell_of_overlaps(task);
    training.tell_of_no_effect(task.config);
    if (data.dev.size() > 0 && !objective.evaluate)
      print_note(
          "minima: warning: nothing is evaluated: the {} dev texts have no token to hide, all of "
          "their words are unknown to the vocabulary\n",
          data.dev.size());

    Trainer trainer(objective, resolved, training.training, directory.path);
    trainer.run_json = begin_run(directory, task,
                                 {{"config", task.config.masked_lm_json()},
                                  {"spec", resolved},
                                  {"parameters", model.parameter_count()},
                                  {"optimizer", trainer.optimizer().options()},
                                  {"training", to_json(training.training)}});
    common.tell(directory.path);
    tell_of_spec(resolved);
    Progress progress;
    progress.begin(resolved);
    const InterruptRequests ctrl_c;
    const TrainingResult result = folder.work([&] {
      try {
        return run_measured(trainer, directory, task.device, live_before, progress.callback());
      } catch (const TrainingFailed&) {
        progress.end();
        print_note("report: {}\n", write_page(directory.path).string());
        throw;
      }
    });
    progress.end();
    if (result.stop == Stop::interrupted) die_of_interrupt("pretrain", directory.path);
    const std::filesystem::path final_model = directory.path / "final";
    const std::filesystem::path page = folder.work([&] {
      write_folder(final_model, [&](const std::filesystem::path& to) {
        save_model(to, task.tokenizer, task.max_length, model);
        trainer.optimizer().save(to / "optimizer.safetensors");
      });
      end_run(directory.path, trainer.run_json, result);
      return write_page(directory.path);  // as minima report does
    });

    if (common.json) {
      Json report = {{"model", final_model.string()},
                     {"arguments", directory.arguments},
                     {"parameters", model.parameter_count()},
                     {"vocabulary", vocabulary.size()},
                     {"tokens", data.train.tokens.size()},
                     {"epochs", training.training.epochs},
                     {"seconds", result.seconds},
                     {"report", page.string()}};
      if (result.best) report["dev"] = result.dev().to_json();
      return fmt::print("{}\n", report.dump());
    }
    folder.tell_stopped(result.epoch, result.stop);
    Json run = describe_training(result);
    if (result.best) run["dev"] = result.dev().to_json();
    for (const std::string& flaw :
         {skipped_steps(run), no_better_than_guessing(run, static_cast<double>(vocabulary.size()))})
      if (!flaw.empty()) print_text("{}\n", flaw);
    if (result.best)
      print_text("dev loss {:.3f}, perplexity {:.1f}, {:.1f} % of the hidden tokens told rightly\n",
                 result.dev().loss, result.dev().score("perplexity"),
                 100 * result.dev().accuracy());
    print_text("model: {}\nreport: {}\n", final_model.string(), page.string());
  }
};

}  // namespace

void add_pretrain(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand(
      "pretrain", "pre-train a masked language model on plain text (a .txt file: a text a line)");
  const auto options = std::make_shared<PretrainVerb>();
  options->common.add_to(verb);
  options->common.add_device(verb);
  options->training.add_to(verb, Texts::plain);
  verb.add_option("--optimizer", options->optimizer, "with its options")->capture_default_str();
  verb.add_option("--lr", options->lr, "learning rate");
  verb.add_option("--mask-rate", options->masking.rate, "share of the tokens to be told")
      ->capture_default_str();
  verb.add_flag("--whole-words", options->masking.whole_words, "hide words whole, not by pieces");
  verb.add_option("--resume", options->resumed,
                  "go on with the run of this folder, from its newest whole checkpoint");
  verb.callback([options] { options->run(); });
}

}  // namespace minima

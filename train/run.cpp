#include "train/run.hpp"

#include <ranges>

#include "core/cpu/threads.hpp"
#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "optim/registry.hpp"
#include "train/machine.hpp"
#include "train/memory.hpp"
#include "train/model_directory.hpp"
#include "train/predictions.hpp"
#include "train/run_record.hpp"
#include "train/state_use.hpp"
#include "train/worst.hpp"

namespace minima {
namespace {

constexpr std::size_t kWorst = 20;  ///< texts that are told

i64 allocated_bytes(const Optimizer& optimizer) {
  i64 bytes = 0;
  for (const NamedTensor& slot : optimizer.tensors()) bytes += slot.tensor.bytes();
  return bytes;
}

/// What happened in training, and how it ended.
Json describe(const TrainingResult& result) {
  Json record = describe_training(result);
  record.update({{"seconds", result.seconds},
                 {"best_epoch", result.best_epoch()},
                 {"dev", result.dev().to_json()},
                 {"stop", stop_name(result.stop)},
                 {"time", result.time}});
  return record;
}

/// The one with most tokens of an epoch's, as far as options.steps reach into it.
BatchShape largest_batch(const TokenizedSplit& split, const std::vector<std::vector<i64>>& epoch,
                         const TrainingOptions& options) {
  const i64 taken = options.steps > 0 ? options.steps * options.accumulate : std::ssize(epoch);
  BatchShape largest;
  for (const std::vector<i64>& batch : epoch | std::views::take(taken)) {
    BatchShape shape{.texts = std::ssize(batch)};
    for (const i64 text : batch) {
      shape.tokens += split.length(text);
      shape.longest = std::max(shape.longest, split.length(text));
    }
    if (shape.tokens > largest.tokens) largest = shape;
  }
  largest.tokens = std::min(largest.tokens, BatchShape::kMostTokens);
  largest.texts = std::min(largest.texts, largest.tokens);
  return largest;
}

}  // namespace

Start start_of(const std::string& model) {
  constexpr i64 kSmall = 256;
  if (!is_pretrained(model)) return Start::scratch;
  try {
    const auto file = std::filesystem::path(model) / "config.json";
    const auto config = nn::EncoderConfig::from_json(read_json(file), file.string());
    return config.dim <= kSmall ? Start::small_encoder : Start::encoder;
  } catch (const Error&) {  // who loads it says what is wrong
    return Start::encoder;
  }
}

std::string with_defaults(const std::string& spec, Start start, std::optional<double> lr) {
  const auto [name, options] = parse_spec(spec);
  const auto given = [&options = options](const char* option) {
    return find_option(options, option);
  };
  const auto is = [&](const char* option, const char* value) {
    return given(option) && *given(option) == value;
  };
  // A step size of its own, which Adafactor has unless something else is said, takes no rate.
  const bool relative = is("relative_step", "true") || is("warmup_init", "true");
  check(!lr || !given("lr"), "--lr {} and --optimizer {} give lr twice; leave one out",
        lr.value_or(0), spec);
  const std::string fixed =
      name == "adafactor" && !relative && !given("relative_step") ? ":relative_step=false" : "";
  if (given("lr")) return is("lr", "none") ? spec : spec + fixed;
  if (relative && !lr) return spec;
  std::string rate_text = lr ? fmt::format("{}", *lr) : "";
  if (!lr) {
    static const std::map<std::string, double, std::less<>> rates = {{"sgd", 0.1},
                                                                     {"adafactor", 0.03},
                                                                     {"adafactor-torch", 0.03},
                                                                     {"lion", 0.0002},
                                                                     {"came", 0.0001}};
    const auto rate = rates.find(name);
    if (name == "adafactor" && is("scale_parameter", "false"))
      lr = 1e-3;  // as AdamW's: it is not multiplied by the weights' size
    else
      lr = rate == rates.end() ? resolve(name).rule->lr() : rate->second;
    if (!lr) return spec;
    const double share = start == Start::scratch ? 1 : start == Start::small_encoder ? 2 : 10;
    rate_text = fmt::format("{:.15g}", *lr / share);
  }
  std::string extra = fixed;
  if (name == "sgd" && !given("momentum")) extra = ":momentum=0.9";
  return fmt::format("{}:lr={}{}", spec, rate_text, extra);
}

GroupPattern with_defaults(GroupPattern group) {
  const OptionList options = parse_options(group.options);
  const std::string* const relative = find_option(options, "relative_step");
  if (relative && *relative == "true" && !find_option(options, "lr")) group.options += ":lr=none";
  return group;
}

i64 default_epochs(i64 training_texts) {
  return std::clamp<i64>((25000 + training_texts / 2) / std::max<i64>(training_texts, 1), 3, 20);
}

Json begin_run(const RunDirectory& directory, const Task& task, const Json& more) {
  Json run = {
      {"task",
       {{"data", task.dataset.name}, {"origin", task.dataset.origin}, {"model", task.model_name}}},
      {"config", task.config.to_json()}};
  run.update(more);
  run["machine"] = describe_machine().to_json();
  run["arguments"] = directory.arguments;
  if (!directory.resume) {
    refuse_used_folder(directory.path);
    make_folders(directory.path);
  } else {
    Json now = run;
    try {  // what may be another, such as the minutes, is as it is now
      run = read_run(directory.path, nullptr);
      for (const char* key : {"stop", "time"}) run.erase(key);
      for (const char* key : {"arguments", "training", "machine"}) run[key] = now[key];
    } catch (const Error&) {  // no checkpoint has kept it; it says the same again
    }
    const Json config = run.value("config", Json());
    if (config.is_object())
      for (const auto& [key, value] : now["config"].items()) {
        // The vocabulary is compared later, by the texts' tokens; the others are prose, or say the same again.
        if (key == "vocab_size" || key == "label2id" || key == "minima_warning") continue;
        const Json then = config.value(key, value);
        check(then == value || key != "id2label",
              "resume: the names of the labels are others than in the run; give the same files and "
              "options");
        check_same("the model's " + key, value, then, "run");
      }
  }
  if (!directory.resume) write_run(directory.path, run);
  return run;
}

TrainingResult run_measured(Trainer& trainer, const RunDirectory& directory, Device device,
                            i64 live_before, const Callback& callback) {
  Json& told = trainer.run_json;
  told["others_cores"] = nullptr;
  // No part of the steps' peak: an evaluation, whose batches may be larger than training's, and what changes the optimizer
  // or writes a checkpoint.
  const auto begin_peak = [&] { reset_peak_memory(device); };
  trainer.callbacks.push_back(callback);
  trainer.callbacks.push_back({.step =
                                   [&](const StepRecord&, i64) {  // at once, for checkpoints
                                     told["peak_bytes"] =
                                         std::max(told.value("peak_bytes", i64{0}),
                                                  memory_stats(device).peak - live_before);
                                   },
                               .evaluation = [&](const EvaluationRecord&) { begin_peak(); },
                               .switched = [&](const SwitchRecord&) { begin_peak(); },
                               .checkpoint = [&](const std::filesystem::path&) { begin_peak(); }});
  if (directory.resume) {
    if (!trainer.resume()) told.erase("peak_bytes");
    remove_report(directory.path, callback.say);
  }
  begin_peak();
  const OtherWork others;
  TrainingResult result = trainer.run();
  if (const auto cores = others.cores()) told["others_cores"] = rounded(*cores);
  return result;
}

void end_run(const std::filesystem::path& directory, Json run, const TrainingResult& result) {
  run.update({{"stop", stop_name(result.stop)}, {"time", result.time}});
  write_run(directory, run);
}

void remove_report(const std::filesystem::path& directory,
                   const std::function<void(const std::string&)>& say) {
  std::error_code refused;  // who writes the next one tells why
  std::filesystem::remove(directory / "record.json", refused);
  for (const char* told : {"comparison.json", "report.html"}) {
    const std::filesystem::path file = directory / told,
                                aside = free_name(file.string() + ".damaged");
    if (!is_foreign(file))
      std::filesystem::remove(file, refused);
    else if (std::filesystem::rename(file, aside, refused); !refused && say)
      say(fmt::format("{} is damaged, or was not written by this program; it is kept as {}",
                      file.string(), aside.filename().string()));
  }
}

bool has_ended(const std::filesystem::path& directory) {
  return is_there(directory / "final") &&
         read_run(directory, nullptr).value("stop", "") == stop_name(Stop::finished);
}

void check_fits(const Task& task, const std::string& spec, const TrainingOptions& options,
                Texts texts) {
  if (task.device != Device{}) return;
  const StepKind kind{.checkpoint_layers = options.checkpoint_layers,
                      .update_in_backward = options.update_in_backward,
                      .precision = product_type(options.precision),
                      .freeze = options.freeze,
                      // A third batch may look up no rows of embeddings that the first two did not.
                      .accumulate = std::min<i64>(options.accumulate, 2),
                      .texts = texts};
  const Batches batches = shuffled(task.data.train, options.batch, options.seed);
  std::vector<std::string> specs{spec};
  if (!options.switches.empty())
    for (const auto& [step, next] : by_step(options.switches, total_steps(batches, options)))
      specs.push_back(next);
  check_fits(task.config, specs, kind, largest_batch(task.data.train, batches(0), options));
}

Run run_training(const Task& task, const std::string& spec, const TrainingOptions& options,
                 const RunDirectory& run_directory, const Callback& callback) {
  const std::filesystem::path& directory = run_directory.path;
  const i64 live_before = memory_stats(task.device).live;
  check_fits(task, spec, options);
  std::unique_ptr<nn::Classifier> model = task.new_model(options.seed);
  Trainer trainer(classification(*model, task.data, options, &task.tokenizer), spec, options,
                  directory);
  const Optimizer& optimizer = trainer.optimizer();

  Json record = {{"optimizer", optimizer.name()},
                 {"spec", spec},
                 {"options", optimizer.options()},
                 {"seed", options.seed},
                 {"state_elements", optimizer.state_elements()},
                 {"scales", optimizer.scales()},
                 {"state_bytes", allocated_bytes(optimizer)},
                 {"state_bytes_predicted", optimizer.state_bytes()}};
  if (!directory.empty()) {
    Json training = to_json(options);
    training["threads"] = threads();
    trainer.run_json = begin_run(run_directory, task,
                                 {{"spec", spec},
                                  {"parameters", model->parameter_count()},
                                  {"optimizer", record["options"]},
                                  {"training", std::move(training)}});
  }

  TrainingResult result = run_measured(trainer, run_directory, task.device, live_before, callback);
  const Json& measured = trainer.run_json;
  record["others_cores"] = measured["others_cores"];
  Run run{.model = std::move(model), .result = std::move(result)};
  if (run.result.stop == Stop::interrupted) return run;

  if (!directory.empty())  // before all that might still fail
    write_folder(directory / "final", [&](const std::filesystem::path& folder) {
      save_model(folder, task.tokenizer, task.max_length, *run.model);
      optimizer.save(folder / "optimizer.safetensors");
    });
  const Tensor logits = predict(*run.model, task.data.test);
  run.test = evaluate(logits, task.data.test);
  record["final_optimizer"] = optimizer.name();
  if (!options.switches.empty()) record["final_state_bytes"] = allocated_bytes(optimizer);
  if (measured.contains("peak_bytes")) record["peak_bytes"] = measured["peak_bytes"];
  record.update(describe(run.result));
  record["test"] = run.test.to_json();
  record["worst"] = to_json(worst_errors(logits, task.data.test, kWorst), task.dataset.test,
                            task.dataset.label_names);
  if (!directory.empty()) {
    trainer.log({{"best_epoch", run.result.best_epoch()}, {"test", run.test.to_json()}});
    write_file(directory / "predictions.csv",
               predictions_header(task.config.pairs) + predictions_rows(logits, task.dataset.test,
                                                                        task.dataset.label_names,
                                                                        task.config.pairs));
    record["state"] = describe_state(StateFile(directory / "final"));
  }
  run.record = std::move(record);
  if (run_directory.report) run_directory.report(run.record);
  if (!directory.empty()) end_run(directory, trainer.run_json, run.result);
  return run;
}

}  // namespace minima

/// Two ways to train, of the same bits: the Trainer, and a loop of one's own around an Accelerator, which draws the
/// batches, accumulates gradients, follows the schedule, and saves. In a FOLDER the own loop saves after each epoch and
/// on Ctrl-C; called again with the same folder it goes on where it was. `minima report FOLDER` shows the run.
///
///     example_07_own_loop [--tiny] [OPTIMIZER] [FOLDER]      for example adafactor:lr=0.03:relative_step=false
#include "autograd/functions.hpp"
#include "train/interrupt.hpp"
#include "train/run.hpp"

using namespace minima;

namespace {

const TrainingOptions kOptions{.epochs = 3, .batch = BatchSize::of_texts(8), .accumulate = 4};

nn::Classifier& initialized(nn::Classifier& model) {
  model.initialize(kOptions.seed);
  return model;
}

/// The loop: 40 lines.
void train_by_hand(nn::Classifier& model, Optimizer& optimizer, const TrainingData& data,
                   const std::filesystem::path& folder) {
  Accelerator accelerator({.accumulate = kOptions.accumulate, .seed = kOptions.seed});
  const Batches batches = shuffled(data.train, kOptions.batch, kOptions.seed);
  accelerator.prepare(model.parameters(), optimizer, batches, total_steps(batches, kOptions));
  if (!folder.empty()) {
    if (const auto last = newest_checkpoint(folder, nullptr)) {
      accelerator.resume(*last);
      fmt::print("  goes on after step {} of {}\n", accelerator.steps(), accelerator.total_steps());
    }
    accelerator.log_to(folder, Earlier::replaced);  // a log without a checkpoint begins anew
  }

  while (!InterruptRequests::received() && accelerator.next()) {
    const Batch batch = make_batch(data.train, accelerator.indices());
    const Variable loss = cross_entropy(model(batch, accelerator.pass()), batch.labels);
    accelerator.backward(loss, static_cast<double>(batch.texts()), batch.tokens.size());
    if (accelerator.accumulate()) continue;  // the step has further batches
    accelerator.clip(kOptions.clip_norm);
    const StepRecord step = accelerator.step();

    if (step.step == 3) {  // what the optimizer keeps by now
      for (const PlannedSlot& slot : optimizer.state().slots)
        if (slot.parameter == "classifier.weight" && slot.slot != "step")
          fmt::print("  {}/{} begins with {:.3g}\n", slot.parameter, slot.slot,
                     optimizer.values(slot).data<float>()[0]);
      fmt::print("  state: {} numbers, {} bytes\n", optimizer.state_elements(),
                 optimizer.state_bytes());
    }
    if (accelerator.epoch_ended() && accelerator.main_process()) {
      const Evaluation dev = evaluate(model, data.dev);
      accelerator.observe(dev);
      fmt::print("  epoch {}: accuracy {:.3f}, F1 {:.3f}\n", step.epoch, dev.accuracy(),
                 dev.macro_f1());
      if (!folder.empty()) accelerator.checkpoint(folder);
    }
  }
  if (!folder.empty() && InterruptRequests::received()) accelerator.checkpoint(folder);
}

}  // namespace

int main(int argc, char** argv) try {
  std::vector<std::string> words(argv + 1, argv + argc);
  const bool tiny = std::erase(words, "--tiny") > 0;
  check(words.size() <= 2 &&
            std::ranges::none_of(words,
                                 [](const std::string& word) { return word.starts_with('-'); }),
        "usage: {} [--tiny] [OPTIMIZER] [FOLDER]", argv[0]);
  const std::string spec = with_defaults(words.empty() ? "adamw" : words[0]);
  const std::filesystem::path folder = words.size() > 1 ? words[1] : "";
  TaskOptions small;
  small.model = "tiny";
  small.dim = tiny ? 16 : 64;
  small.max_length = 32;
  Task task = prepare(small);
  const InterruptRequests ctrl_c;

  fmt::print("own loop, {}\n", spec);
  nn::Classifier mine(task.config);
  Optimizer optimizer = make_optimizer(spec, decay_groups(initialized(mine).parameters(), spec));
  train_by_hand(mine, optimizer, task.data, folder);
  if (InterruptRequests::received()) return 0;

  fmt::print("Trainer, {}\n", spec);
  nn::Classifier theirs(task.config);
  Optimizer other = make_optimizer(spec, decay_groups(initialized(theirs).parameters(), spec));
  Objective objective = classification(theirs, task.data, kOptions);
  objective.evaluate =
      nullptr;  // else the Trainer would leave the best epoch's weights, not the last's
  Trainer(objective, other, kOptions).run();
  if (InterruptRequests::received()) return 0;

  i64 different = 0;
  for (std::size_t i = 0; i < mine.parameters().size(); ++i)
    different += !std::ranges::equal(mine.parameters()[i]->value.span<float>(),
                                     theirs.parameters()[i]->value.span<float>());
  fmt::print("{} of {} tensors differ\n", different, mine.parameters().size());
  return different == 0 ? 0 : 1;
} catch (const Error& error) {
  fmt::print(stderr, "own_loop: {}\n", error.what());
  return 2;
}

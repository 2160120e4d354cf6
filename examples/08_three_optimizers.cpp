/// The same small model trained by AdamW, Adafactor and 8-bit AdamW, without a loop of one's own: what each keeps after three
/// steps, how large that is, and accuracy and F1 after each epoch. (07_own_loop.cpp is a loop of one's own, beside the Trainer.)
///
///     example_08_three_optimizers [--tiny]
#include "train/run.hpp"

using namespace minima;

namespace {

/// The first numbers of every slot that belongs to one weight.
void print_state(const Optimizer& optimizer, const std::string& parameter) {
  for (const PlannedSlot& slot : optimizer.state().slots) {
    if (slot.parameter != parameter) continue;
    const Tensor values = optimizer.values(slot);
    fmt::print("    {:24} {:10} {:6}", slot.slot, fmt::format("{}", slot.shape),
               storage_name(slot.storage));
    for (i64 i = 0; i < std::min<i64>(values.size(), 4); ++i)
      fmt::print("  {:.3g}", values.data<float>()[i]);
    fmt::print("\n");
  }
}

double megabytes(i64 bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

int main(int argc, char** argv) try {
  const bool tiny = argc > 1 && std::string(argv[1]) == "--tiny";
  check(argc == 1 + tiny, "usage: {} [--tiny]", argv[0]);
  TaskOptions small;
  small.model = "tiny";
  small.dim = tiny ? 16 : 64;
  small.max_length = 32;
  const Task task = prepare(small);
  const TrainingOptions options{.epochs = tiny ? 2 : 10, .watch = 0};

  for (const std::string name : {"adamw", "adafactor", "adamw8bit"}) {
    const std::string spec = with_defaults(name);
    nn::Classifier model(task.config);
    model.initialize(options.seed);
    Trainer trainer(classification(model, task.data, options), spec, options);
    const Optimizer& optimizer = trainer.optimizer();
    i64 weights = 0;
    for (const Parameter* parameter : model.parameters()) weights += parameter->value.bytes();
    fmt::print("{}: {} numbers, {:.3f} MB beside {:.3f} MB of weights\n", spec,
               optimizer.state_elements(), megabytes(optimizer.state_bytes()), megabytes(weights));

    trainer.callbacks.push_back(
        {.step =
             [&](const StepRecord& record, i64) {
               if (record.step != 3) return;
               fmt::print("  after three steps:\n");
               print_state(optimizer, "pre_classifier.weight");
             },
         .evaluation =
             [](const EvaluationRecord& record) {
               fmt::print("  epoch {:2}: loss {:.3f}, accuracy {:.3f}, F1 {:.3f}\n", record.epoch,
                          record.train_loss, record.dev.accuracy(), record.dev.macro_f1());
             }});
    const TrainingResult result = trainer.run();
    const Evaluation test = evaluate(model, task.data.test);
    fmt::print("  best epoch {}: test accuracy {:.3f}, F1 {:.3f}\n\n", result.best_epoch(),
               test.accuracy(), test.macro_f1());
  }
} catch (const Error& error) {
  fmt::print(stderr, "three_optimizers: {}\n", error.what());
  return 2;
}

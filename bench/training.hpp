/// The training job of the speed benchmarks: a DistilBERT-style classifier with an uncased vocabulary, or a model directory,
/// on a folder of labelled texts; every dropout rate 0.1, AdamW, gradients clipped to norm 1.
#pragma once

#include "autograd/functions.hpp"
#include "bench/device.hpp"
#include "core/cpu/threads.hpp"
#include "optim/optimizer.hpp"
#include "train/task.hpp"

namespace minima::bench {

class TrainingJob {
 public:
  static constexpr const char* kArguments =
      "DATA_DIRECTORY VOCABULARY|MODEL_DIRECTORY [dim layers heads hidden batch threads]";

  TrainingJob(int argc, char** argv)
      : batch_size_(number(argc, argv, 7, 32)),
        task_(prepare(options(argc, argv))),
        model_(task_.new_model(1)),
        data(task_.data),
        model(*model_),
        parameters(model.parameters()),
        optimizer(make_optimizer("adamw:lr=5e-4", decay_groups(parameters))) {
    set_threads(static_cast<int>(number(argc, argv, 8, 2)));
  }

  /// Epoch after epoch, without end.
  Batch next_batch() {
    if (next_ == batches_.size()) {
      batches_ = epoch_batches(data.train, batch_size(), 1, ++epoch_);
      next_ = 0;
    }
    return make_batch(data.train, batches_[next_++]);
  }
  BatchSize batch_size() const { return BatchSize::of_texts(batch_size_); }
  Variable forward(const Batch& batch) {
    return cross_entropy(model(batch, {.training = true, .seed = 1, .step = ++step_}),
                         batch.labels.to(bench::device()));
  }
  /// The rate rises during the first 100 steps.
  StepOptions step_options() const {
    return {.lr_factor = std::min(1.0, static_cast<double>(step_) / 100), .clip_norm = 1};
  }
  void clear_gradients() {
    for (Parameter* parameter : parameters) parameter->gradient.clear();
  }

  /// Arithmetic of a training step's products in the blocks, of texts of these lengths: two operations for each weight
  /// and token, and for each pair of tokens and dimension twice, in queries keys and in weights values; backward takes
  /// twice as much again.
  double operations(std::span<const i64> indices) const {
    const auto d = static_cast<double>(model.config.dim),
               h = static_cast<double>(model.config.hidden);
    double forward = 0;
    for (const i64 i : indices) {
      const auto length = static_cast<double>(data.train.length(i));
      forward += length * (2 * (4 * d * d + 2 * d * h) + 4 * length * d);
    }
    return 3 * static_cast<double>(model.config.layers) * forward;
  }

  static i64 number(int argc, char** argv, int i, i64 fallback) {
    return argc > i ? std::stoll(argv[i]) : fallback;
  }

 private:
  static TaskOptions options(int argc, char** argv) {
    TaskOptions options{
        .data = argv[1], .dropout = 0.1, .max_length = 512, .device = bench::device()};
    const bool pretrained = is_pretrained(argv[2]);
    if (pretrained) {
      options.model = argv[2];
    } else {
      options.model = "distilbert-base";
      options.vocab_file = argv[2];
      options.casing = Casing::uncased;
    }
    const auto size = [&](int i, i64 from_scratch) -> std::optional<i64> {
      const i64 n = number(argc, argv, i, pretrained ? 0 : from_scratch);  // 0: the model's own
      return n == 0 ? std::nullopt : std::optional(n);
    };
    options.dim = size(3, 256);
    options.layers = size(4, 4);
    options.heads = size(5, 4);
    options.hidden = size(6, 1024);
    return options;
  }

  i64 batch_size_;
  i64 epoch_ = -1, step_ = 0;
  std::vector<std::vector<i64>> batches_;
  std::size_t next_ = 0;
  Task task_;
  std::unique_ptr<nn::Classifier> model_;

 public:  // in the order in which they are made
  const TrainingData& data;
  nn::Classifier& model;
  std::vector<Parameter*> parameters;
  Optimizer optimizer;
};

}  // namespace minima::bench

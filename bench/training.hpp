/// The training job of the speed benchmarks: a DistilBERT-style classifier with an uncased vocabulary, or a model directory,
/// on a folder of labelled texts; every dropout rate 0.1, AdamW, gradients clipped to norm 1.
#pragma once

#include "autograd/functions.hpp"
#include "bench/arguments.hpp"
#include "bench/device.hpp"
#include "core/cpu/threads.hpp"
#include "optim/optimizer.hpp"
#include "train/task.hpp"

namespace minima::bench {

class TrainingJob {
 public:
  /// Sizes that are 0 are the model directory's own, or else 256, 4, 4 and 1,024.
  struct Arguments {
    std::string data, model;
    i64 dim = 0, layers = 0, heads = 0, hidden = 0, batch = 32;
    int threads = 2;

    void add_to(CLI::App& app) {
      app.add_option("data", data, "a folder of labelled texts")->required();
      app.add_option("model", model, "a vocabulary, or a model directory")->required();
      for (auto [name, size] :
           {std::pair{"dim", &dim}, {"layers", &layers}, {"heads", &heads}, {"hidden", &hidden}})
        add_number(app, name, *size, i64{0})->description("0: the model's own");
      add_number(app, "batch", batch);
      add_threads(app, threads);
    }
  };

  explicit TrainingJob(const Arguments& arguments)
      : batch_size_(arguments.batch),
        task_(prepare(options(arguments))),
        model_(task_.new_model(1)),
        data(task_.data),
        model(*model_),
        parameters(model.parameters()),
        optimizer(make_optimizer("adamw:lr=5e-4", decay_groups(parameters))) {
    set_threads(arguments.threads);
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

 private:
  static TaskOptions options(const Arguments& arguments) {
    TaskOptions options{
        .data = arguments.data, .dropout = 0.1, .max_length = 512, .device = bench::device()};
    const bool pretrained = is_pretrained(arguments.model);
    if (pretrained) {
      options.model = arguments.model;
    } else {
      options.model = "distilbert-base";
      options.vocab_file = arguments.model;
      options.casing = Casing::uncased;
    }
    const auto size = [&](i64 given, i64 from_scratch) -> std::optional<i64> {
      if (given != 0) return given;
      return pretrained ? std::nullopt : std::optional(from_scratch);
    };
    options.dim = size(arguments.dim, 256);
    options.layers = size(arguments.layers, 4);
    options.heads = size(arguments.heads, 4);
    options.hidden = size(arguments.hidden, 1024);
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

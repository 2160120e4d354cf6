#include "train/memory.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <set>

#include "autograd/functions.hpp"
#include "core/cpu/threads.hpp"
#include "optim/optimizer.hpp"

namespace minima {
namespace {

/// A step on sizes: the counterparts of core/tensor, autograd and nn, as far as memory goes. Each
/// op is written as its original is, with the same lifetimes.
namespace sizes {

struct Allocator {
  i64 live = 0, peak = 0;
};

/// Bytes that count while somebody holds them.
using Tensor = std::shared_ptr<const i64>;

/// A result [rows, columns] and the node that made it.
struct Variable {
  Tensor value;
  i64 rows, columns;
  std::size_t node;
};

/// nn::PackedRows, where its tensors are not the batch's own.
struct Rows {
  Tensor offsets, positions, examples;
};

using Grads = std::vector<Tensor>;
using Backward = std::function<Grads(const Tensor& dy)>;

/// autograd/variable.cpp: nodes in the order of their numbers.
class Tape {
 public:
  Tensor allocate(i64 elements, const char* name = "", i64 element_size = 4) {
    const i64 bytes = elements * element_size;
    allocator.live += bytes;
    allocator.peak = std::max(allocator.peak, allocator.live);
    Tensor tensor(new i64(bytes), [this](const i64* size) {
      allocator.live -= *size;
      delete size;
    });
    if (*name) named_.push_back({scope, name, tensor});
    return tensor;
  }

  /// A parameter; backward leaves its gradient in its node.
  std::size_t leaf() {
    nodes_.emplace_back();
    return nodes_.size() - 1;
  }
  Variable record(Tensor value, i64 rows, i64 columns, std::vector<std::size_t> inputs,
                  Backward backward) {
    nodes_.push_back({std::move(inputs), std::move(backward), nullptr});
    return {std::move(value), rows, columns, nodes_.size() - 1};
  }

  void backward(const Variable& root) {
    const Tensor one = allocate(1);
    nodes_[root.node].gradient = one;
    for (std::size_t n = nodes_.size(); n-- > 0;) {
      Node& node = nodes_[n];
      if (!node.backward) continue;  // a parameter
      const Tensor dy = std::exchange(node.gradient, nullptr);
      const Grads grads = std::exchange(node.backward, nullptr)(dy);
      for (std::size_t i = 0; i < grads.size(); ++i) {
        Tensor& gradient = nodes_[node.inputs[i]].gradient;  // later ones are added to the first
        if (!gradient) gradient = grads[i];
      }
    }
  }

  /// What is alive and has a name.
  std::vector<Activation> kept() const {
    std::vector<Activation> result;
    for (const auto& [scope, name, tensor] : named_)
      if (const Tensor alive = tensor.lock()) result.push_back({scope, name, *alive});
    return result;
  }
  i64 gradient_bytes() const {
    i64 sum = 0;
    for (const Node& node : nodes_) sum += node.gradient ? *node.gradient : 0;
    return sum;
  }

  Allocator allocator;
  std::string scope;

 private:
  struct Node {
    std::vector<std::size_t> inputs;
    Backward backward;
    Tensor gradient;
  };
  struct Named {
    std::string scope, name;
    std::weak_ptr<const i64> tensor;
  };

  std::vector<Node> nodes_;
  std::vector<Named> named_;
};

/// The ops, and the layers that own parameters.
class Model {
 public:
  Model(const nn::EncoderConfig& config, const BatchShape& batch)
      : config_(config), batch_(batch) {}

  // ---- core/ops, autograd/functions.cpp, autograd/layers.cpp

  Tensor column_sums(i64 rows, i64 columns) {
    const Tensor partial = tape.allocate(std::max<i64>((rows + 63) / 64, 1) * columns);
    return tape.allocate(columns);
  }

  Variable add(const Variable& a, const Variable& b, const char* name) {
    return tape.record(tape.allocate(a.rows * a.columns, name), a.rows, a.columns, {a.node, b.node},
                       [](const Tensor& dy) {
                         return Grads{dy, dy};
                       });
  }

  /// `keeps_input`: gelu; else its result: relu.
  Variable unary(const Variable& x, bool keeps_input, const char* name) {
    Tensor y = tape.allocate(x.rows * x.columns, name);
    return tape.record(y, x.rows, x.columns, {x.node},
                       [this, size = x.rows * x.columns, kept = keeps_input ? x.value : y](
                           const Tensor&) { return Grads{tape.allocate(size)}; });
  }

  Variable dropout(const Variable& x, double rate, const Rows& rows, const char* name) {
    if (rate == 0) return x;
    return tape.record(
        tape.allocate(x.rows * x.columns, name), x.rows, x.columns, {x.node},
        [this, size = x.rows * x.columns, positions = rows.positions,
         examples = rows.examples](const Tensor&) { return Grads{tape.allocate(size)}; });
  }

  Variable first_tokens(const Variable& x) {  // index_select
    return tape.record(
        tape.allocate(batch_.texts * x.columns, "first tokens"), batch_.texts, x.columns, {x.node},
        [this, size = x.rows * x.columns](const Tensor&) { return Grads{tape.allocate(size)}; });
  }

  Variable mean_pool(const Variable& x) {
    return tape.record(tape.allocate(batch_.texts * x.columns, "mean of tokens"), batch_.texts,
                       x.columns, {x.node}, [this, size = x.rows * x.columns](const Tensor&) {
                         return Grads{tape.allocate(size)};
                       });
  }

  Variable cross_entropy(const Variable& logits) {
    const i64 rows = logits.rows;
    Tensor loss = tape.allocate(rows);
    const Tensor logsumexp = tape.allocate(rows, "log sums");
    {  // the mean, and its accumulators in double
      const Tensor mean = tape.allocate(1, "loss");
      tape.allocate(std::max<i64>(1, (rows + (1 << 14) - 1) >> 14), "", 8);
      loss = mean;
    }
    return tape.record(loss, 1, 1, {logits.node},
                       [this, rows, columns = logits.columns, logits = logits.value, logsumexp,
                        loss](const Tensor&) { return Grads{tape.allocate(rows * columns)}; });
  }

  // ---- nn: layers

  struct Linear {
    i64 in, out;
    const char* name;
  };
  Linear linear(const std::string& path, i64 in, i64 out, const char* name) {
    parameters.push_back({path + ".weight", {out, in}});
    parameters.push_back({path + ".bias", {out}});
    return {in, out, name};
  }
  Variable apply(const Linear& layer, const Variable& x) {
    const i64 rows = x.rows;
    const std::size_t weight = tape.leaf(), bias = tape.leaf();
    return tape.record(
        tape.allocate(rows * layer.out, layer.name), rows, layer.out, {x.node, weight, bias},
        [this, rows, in = layer.in, out = layer.out, x = x.value](const Tensor&) {
          return Grads{tape.allocate(rows * in), tape.allocate(out * in), column_sums(rows, out)};
        });
  }

  void norm(const std::string& path) {
    parameters.push_back({path + ".weight", {config_.dim}});
    parameters.push_back({path + ".bias", {config_.dim}});
  }
  Variable apply_norm(const Variable& x, const char* name) {
    const i64 rows = x.rows, d = x.columns;
    const std::size_t gamma = tape.leaf(), beta = tape.leaf();
    Tensor y = tape.allocate(rows * d, name);
    const Tensor mean = tape.allocate(rows, "means"), rstd = tape.allocate(rows, "1/deviations");
    return tape.record(
        std::move(y), rows, d, {x.node, gamma, beta},
        [this, rows, d, x = x.value, mean, rstd](const Tensor&) {
          const i64 chunks = (rows + 15) / 16;
          Tensor dx = tape.allocate(rows * d);
          const Tensor dgamma = tape.allocate(chunks * d);
          const Tensor dbeta = tape.allocate(chunks * d);
          return Grads{std::move(dx), column_sums(chunks, d), column_sums(chunks, d)};
        });
  }

  // ---- several layers in one

  Variable feed_forward(const Linear& lin1, const Linear& lin2, const Variable& x) {
    const i64 rows = x.rows, in = lin1.in, hidden = lin1.out, out = lin2.out;
    std::vector<std::size_t> inputs{x.node};
    for (int i = 0; i < 4; ++i) inputs.push_back(tape.leaf());
    const Tensor h = tape.allocate(rows * hidden, lin1.name);
    const Tensor g = tape.allocate(rows * hidden);
    return tape.record(tape.allocate(rows * out, lin2.name), rows, out, std::move(inputs),
                       [this, rows, in, hidden, out, x = x.value, h](const Tensor&) {
                         Tensor db2 = column_sums(rows, out);
                         const Tensor dh = tape.allocate(rows * hidden);
                         Tensor dw2 = tape.allocate(out * hidden);
                         Tensor db1 = column_sums(rows, hidden);
                         Tensor dw1 = tape.allocate(hidden * in);
                         return Grads{tape.allocate(rows * in), dw1, db1, dw2, db2};
                       });
  }

  Variable residual_norm(const Variable& x, const Variable& residual, double rate, const Rows& rows,
                         const char* sum_name, const char* name) {
    const i64 n = x.rows, d = x.columns;
    const std::size_t gamma = tape.leaf(), beta = tape.leaf();
    Tensor y = tape.allocate(n * d, name);
    const Tensor sum = tape.allocate(n * d, sum_name), mean = tape.allocate(n, "means"),
                 rstd = tape.allocate(n, "1/deviations");
    return tape.record(
        std::move(y), n, d, {x.node, residual.node, gamma, beta},
        [this, n, d, rate, sum, mean, rstd, positions = rows.positions,
         examples = rows.examples](const Tensor&) {
          const i64 chunks = (n + 15) / 16;
          const Tensor dresidual = tape.allocate(n * d);
          const Tensor dx = rate > 0 ? tape.allocate(n * d) : dresidual;
          const Tensor dgamma = tape.allocate(chunks * d);
          const Tensor dbeta = tape.allocate(chunks * d);
          return Grads{dx, dresidual, column_sums(chunks, d), column_sums(chunks, d)};
        });
  }

  /// `asking`: null where all rows of x ask.
  Variable projected_attention(const Variable& x, const Variable* asking, const Linear& q_lin,
                               const Linear& k_lin, const Linear& v_lin, const Rows& rows) {
    const i64 d = x.columns, all = x.rows, asked = asking ? asking->rows : all;
    std::vector<std::size_t> inputs{x.node, asking ? asking->node : tape.leaf()};
    for (int i = 0; i < 6; ++i) inputs.push_back(tape.leaf());
    std::vector<Tensor> kept{tape.allocate(asked * d, q_lin.name),
                             tape.allocate(all * d, k_lin.name),
                             tape.allocate(all * d, v_lin.name)};
    Tensor y = tape.allocate(asked * d, "context");
    kept.push_back(tape.allocate(config_.heads * asked, "log sums"));
    return tape.record(
        std::move(y), asked, d, std::move(inputs),
        [this, d, all, asked, other = asking != nullptr, x = x.value,
         x_asking = asking ? asking->value : nullptr, kept = std::move(kept),
         offsets = rows.offsets, positions = rows.positions](const Tensor&) mutable {
          const Tensor dqkv = tape.allocate((asked + 2 * all) * d);
          kept.clear();
          Grads grads(8);
          // Weights and biases of a product; several of them are views of one tensor.
          const auto weights = [&](std::size_t first, i64 rows_in, std::size_t count) {
            for (std::size_t i = 0; i < count; ++i) grads[first + 2 * i] = tape.allocate(d * d);
            const Tensor partial =
                tape.allocate(std::max<i64>((rows_in + 63) / 64, 1) * static_cast<i64>(count) * d);
            for (std::size_t i = 0; i < count; ++i) grads[first + 2 * i + 1] = tape.allocate(d);
          };
          if (other) {
            weights(2, asked, 1);
            grads[1] = tape.allocate(asked * d);
          }
          weights(other ? 4 : 2, all, other ? 2 : 3);
          grads[0] = tape.allocate(all * d);
          return grads;
        });
  }

  /// `looked_up`: how many rows of the table get a gradient, each with its id.
  Variable embedding(i64 looked_up, const Tensor& ids = nullptr) {
    const i64 d = config_.dim;
    return tape.record(tape.allocate(batch_.tokens * d), batch_.tokens, d, {tape.leaf()},
                       [this, looked_up, d, ids](const Tensor&) {
                         return Grads{tape.allocate(looked_up * (d + 2))};  // an id is two floats
                       });
  }

  // ---- nn/transformer.cpp, nn/models

  Variable embeddings(const Rows& rows) {
    const std::string path = fmt::format("{}.embeddings.", names_.model_type);
    const bool typed = config_.architecture == nn::Architecture::bert;
    parameters.push_back({path + "word_embeddings.weight", {config_.vocabulary, config_.dim}});
    parameters.push_back({path + "position_embeddings.weight", {config_.positions, config_.dim}});
    if (typed)
      parameters.push_back(
          {path + "token_type_embeddings.weight", {config_.token_types, config_.dim}});
    norm(path + "LayerNorm");
    const i64 words = std::min(batch_.tokens, config_.vocabulary - 1);  // [PAD] gets no gradient
    Variable sum = add(embedding(words), embedding(batch_.longest), "sum");
    if (typed) {
      const Tensor types = tape.allocate(batch_.tokens, "token types", 8);  // all 0
      sum = add(sum, embedding(1, types), "sum");
    }
    return dropout(apply_norm(sum, "norm"), config_.dropout, rows, "output");
  }

  /// Of all tokens, or of those that are `asked` for: the first of each text.
  Variable block(const std::string& path, const Variable& x, const Rows& rows, const Rows* asked) {
    const i64 dim = config_.dim, hidden = config_.hidden;
    const nn::BlockNames& names = names_.block;
    const std::string attention_path = path + ".attention.";
    const std::string ffn = *names.feed_forward ? path + "." + names.feed_forward : path;
    const Linear q_lin = linear(attention_path + names.query, dim, dim, "queries"),
                 k_lin = linear(attention_path + names.key, dim, dim, "keys"),
                 v_lin = linear(attention_path + names.value, dim, dim, "values"),
                 out_lin = linear(attention_path + names.attention_output, dim, dim, "out_lin");
    norm(path + "." + names.attention_norm);
    const Linear lin1 = linear(ffn + "." + names.lin1, dim, hidden, "lin1"),
                 lin2 = linear(ffn + "." + names.lin2, hidden, dim, "lin2");
    norm(path + "." + names.output_norm);

    std::optional<Variable> asking;
    if (asked) asking = first_tokens(x);
    const Rows& asked_rows = asked ? *asked : rows;
    const auto attend = [&] {
      return apply(out_lin, projected_attention(x, asking ? &*asking : nullptr, q_lin, k_lin, v_lin,
                                                asked_rows));
    };
    const Variable h =
        residual_norm(attend(), asking ? *asking : x, config_.attention_output_dropout, asked_rows,
                      "first sum", "first norm");
    return residual_norm(feed_forward(lin1, lin2, h), h, config_.dropout, asked_rows, "second sum",
                         "output");
  }

  Variable encoder(const Rows* asked) {
    tape.scope = "embeddings";
    const Rows rows{nullptr, nullptr, tape.allocate(batch_.tokens, "examples of rows", 8)};
    Variable x = embeddings(rows);
    for (i64 i = 0; i < config_.layers; ++i) {
      tape.scope = fmt::format("block {}", i);
      x = block(fmt::format("{}.{}.{}", names_.model_type, names_.layers, i), x, rows,
                i + 1 == config_.layers ? asked : nullptr);
    }
    return x;
  }

  /// Offsets and positions of the first tokens (nn::first_rows).
  Rows first_rows() {
    tape.scope = "classifier";
    return {tape.allocate(batch_.texts + 1, "offsets of rows", 8),
            tape.allocate(batch_.texts, "positions of rows", 8), nullptr};
  }

  Variable pooled() {
    if (config_.pooling == nn::Pooling::mean) {
      const Variable all = encoder(nullptr);
      tape.scope = "classifier";
      return mean_pool(all);
    }
    const Rows rows = first_rows();
    return encoder(&rows);
  }

  Variable logits() {
    const i64 dim = config_.dim;
    const Rows rows = first_rows();
    const Variable encoded = pooled();
    tape.scope = "classifier";
    const Linear pre_classifier = linear(names_.pre_classifier, dim, dim, "pre_classifier"),
                 classifier = linear("classifier", dim, config_.labels, "logits");
    return apply(classifier, dropout(unary(apply(pre_classifier, encoded), false, "features"),
                                     config_.classifier_dropout, rows, "dropout"));
  }

  Tape tape;
  std::vector<ParameterShape> parameters;

 private:
  const nn::EncoderConfig& config_;
  const nn::ArchitectureNames& names_ = config_.names();
  const BatchShape& batch_;
};

}  // namespace sizes

i64 sum_of_sizes(const std::vector<ParameterShape>& parameters) {
  i64 sum = 0;
  for (const ParameterShape& parameter : parameters) sum += parameter.shape.size();
  return sum;
}

/// 12 dim² layers and what stands around: the number of parameters in closed form.
i64 count_parameters(const nn::EncoderConfig& c) {
  const i64 block =
      4 * (c.dim * c.dim + c.dim) + 2 * c.dim * c.hidden + c.hidden + c.dim + 4 * c.dim;
  const i64 types = c.architecture == nn::Architecture::bert ? c.token_types : 0;
  return (c.vocabulary + c.positions + types + 2) * c.dim + c.layers * block + c.dim * c.dim +
         c.dim + c.labels * (c.dim + 1);
}

/// Of a matrix rule, for one parameter: column sums, a row of them for each 32 rows; and where its
/// momentum has a low rank, the estimate and the factors' next values.
i64 temporary_bytes(const Shape& shape, const std::vector<const PlannedSlot*>& slots) {
  const auto has_own_shape = [&](const PlannedSlot* slot) {
    return slot->slot != "step" && slot->shape != shape;
  };
  if (std::ranges::none_of(slots, has_own_shape)) return 0;
  const i64 rows = shape.rank() >= 2 ? shape[-2] : 1, columns = shape.rank() ? shape[-1] : 1;
  const i64 matrices = shape.size() / std::max<i64>(1, rows * columns);
  const i64 column_sums = matrices * ((rows + 31) / 32) * columns * 4;
  const auto basis = std::ranges::find(slots, "basis", &PlannedSlot::slot);
  if (basis == slots.end()) return column_sums;
  const i64 rank = (*basis)->shape[1], n = std::min(rows, columns), m = std::max(rows, columns);
  return 4 * shape.size() + std::max(column_sums, 4 * rank * (3 * m + n + 2 * rank));
}

/// Parameters below 4 Mi elements are stepped at the same time, one for each thread; larger ones
/// alone.
i64 temporary_bytes(const StatePlan& plan, const std::vector<ParameterShape>& parameters) {
  std::map<std::string, std::vector<const PlannedSlot*>> slots;
  for (const PlannedSlot& slot : plan.slots) slots[slot.parameter].push_back(&slot);
  i64 largest = 0;
  std::vector<i64> together;
  for (const auto& [name, shape] : parameters) {
    const i64 bytes = temporary_bytes(shape, slots[name]);
    if (shape.size() >= i64{4} << 20)
      largest = std::max(largest, bytes);
    else
      together.push_back(bytes);
  }
  std::ranges::sort(together, std::greater());
  together.resize(std::min(together.size(), static_cast<std::size_t>(threads())));
  return std::max(largest, std::accumulate(together.begin(), together.end(), i64{0}));
}

void check_batch(const nn::EncoderConfig& config, const BatchShape& batch) {
  constexpr i64 kMost = i64{1} << 24;
  check(batch.texts > 0 && batch.longest > 0 && batch.tokens >= batch.texts,
        "memory: a batch of {} texts with {} tokens; give at least 1 of each", batch.texts,
        batch.tokens);
  check(batch.longest <= config.positions,
        "memory: texts of {} tokens, the model has {} positions; give a shorter --length or more "
        "--positions",
        batch.longest, config.positions);
  check(batch.tokens <= kMost, "memory: a batch of {} tokens; at most {} are counted", batch.tokens,
        kMost);
}

/// Texts of that shape: every token occurs as rarely as the vocabulary allows.
Batch make_batch(const nn::EncoderConfig& config, const BatchShape& shape) {
  Batch batch{.tokens = Tensor::empty({shape.tokens}, DType::i64),
              .positions = Tensor::empty({shape.tokens}, DType::i64),
              .offsets = Tensor::empty({shape.texts + 1}, DType::i64),
              .example_id = Tensor::empty({shape.texts}, DType::i64),
              .labels = Tensor::empty({shape.texts}, DType::i64)};
  for (i64 t = 0; t < shape.tokens; ++t) {
    batch.tokens.data<i64>()[t] = 1 + t % (config.vocabulary - 1);  // 0 is [PAD]
    batch.positions.data<i64>()[t] = t % shape.longest;
  }
  for (i64 b = 0; b < shape.texts; ++b) {
    batch.offsets.data<i64>()[b] = b * shape.longest;
    batch.example_id.data<i64>()[b] = b;
    batch.labels.data<i64>()[b] = b % config.labels;
  }
  batch.offsets.data<i64>()[shape.texts] = shape.tokens;
  return batch;
}

}  // namespace

StepMemory predict_step(const nn::EncoderConfig& config, const BatchShape& batch) {
  check_sizes(config);
  check_batch(config, batch);
  StepMemory result;
  result.batch = batch;
  sizes::Model model(config, batch);
  sizes::Allocator& allocator = model.tape.allocator;
  const sizes::Tensor inputs = model.tape.allocate(2 * batch.tokens + 3 * batch.texts + 1, "", 8);
  result.batch_bytes = allocator.live;
  {
    const sizes::Variable loss = [&] {
      const sizes::Variable logits = model.logits();
      result.logits_bytes = *logits.value;
      return model.cross_entropy(logits);
    }();
    result.activations = model.tape.kept();
    std::ranges::stable_partition(result.activations, [](const Activation& activation) {
      return activation.scope != "classifier";  // its tensors frame the others
    });
    result.activation_bytes = allocator.live - result.batch_bytes;
    model.tape.backward(loss);
    result.gradient_bytes = model.tape.gradient_bytes();
    result.left_for_update = allocator.live;
  }
  result.working_peak = allocator.peak;
  result.parameters = std::move(model.parameters);
  result.parameter_count = sum_of_sizes(result.parameters);
  result.parameter_bytes = 4 * result.parameter_count;
  return result;
}

OptimizerMemory predict_optimizer(const std::string& spec, const StepMemory& step) {
  static const std::set<std::string> kMomentum{"exp_avg", "momentum_buffer", "basis", "coef"};
  OptimizerMemory result;
  result.spec = spec;
  result.state = plan_state(spec, step.parameters);
  for (const PlannedSlot& slot : result.state.slots)
    if (kMomentum.contains(slot.slot)) result.momentum += slot.elements();
  result.temporary_bytes = temporary_bytes(result.state, step.parameters);
  const i64 state = result.state.bytes();
  result.sum_bytes = step.parameter_bytes + step.gradient_bytes + state + step.activation_bytes;
  result.peak_bytes = step.parameter_bytes + state +
                      std::max(step.working_peak, step.left_for_update + result.temporary_bytes);
  return result;
}

MeasuredMemory measure_step(const nn::EncoderConfig& config, const BatchShape& shape,
                            const std::string& spec) {
  check_sizes(config);
  check_batch(config, shape);
  MeasuredMemory measured{};
  i64 before = memory_stats().live;
  const i64 at_first = before;
  const auto grown = [&] {
    return memory_stats().live - std::exchange(before, memory_stats().live);
  };
  reset_peak_memory();

  nn::Classifier model(config);
  model.initialize(1);
  const std::vector<Parameter*> parameters = model.parameters();
  measured.parameter_bytes = grown();
  Optimizer optimizer = make_optimizer(spec, parameters);
  measured.state_bytes = grown();
  measured.state_elements = optimizer.state_elements();

  const Batch batch = make_batch(config, shape);
  grown();
  const Variable loss =
      cross_entropy(model(batch, {.training = true, .seed = 1, .step = 1}), batch.labels);
  measured.activation_bytes = grown();
  loss.backward();
  for (const Parameter* parameter : parameters)
    measured.gradient_bytes +=
        parameter->gradient.values().bytes() +
        (parameter->gradient.ids().defined() ? parameter->gradient.ids().bytes() : 0);
  optimizer.step({.clip_norm = 1, .measure_norm = true, .skip_non_finite = true});
  measured.peak_bytes = memory_stats().peak - at_first;
  return measured;
}

std::vector<std::string> disagreements(const StepMemory& step, const OptimizerMemory& optimizer,
                                       const MeasuredMemory& measured) {
  std::vector<std::string> all;
  const auto compare = [&](const char* what, i64 predicted, i64 found, double tolerance) {
    if (static_cast<double>(std::abs(predicted - found)) > tolerance * static_cast<double>(found))
      all.push_back(fmt::format("{}: {} predicted, {} measured", what, predicted, found));
  };
  compare("bytes of weights", step.parameter_bytes, measured.parameter_bytes, 0);
  compare("elements of state", optimizer.state.elements(), measured.state_elements, 0);
  compare("bytes of state", optimizer.state.bytes(), measured.state_bytes, 0);
  compare("bytes of activations", step.activation_bytes, measured.activation_bytes, 0);
  compare("bytes of gradients", step.gradient_bytes, measured.gradient_bytes, 0);
  compare("bytes at the peak", optimizer.peak_bytes, measured.peak_bytes, 0.02);
  return all;
}

void check_sizes(const nn::EncoderConfig& c, const std::string& source) {
  const nn::ArchitectureNames& names = c.names();
  struct Size {
    const char *option, *key;  // on the command line, and in a config.json
    i64 value, least, most;
  };
  for (const auto& [option, key, value, least, most] :
       {Size{"dim", names.dim, c.dim, 1, 1 << 16},
        Size{"layers", names.layer_count, c.layers, 1, 1000},
        Size{"heads", names.heads, c.heads, 1, 1 << 16},
        Size{"hidden", names.hidden, c.hidden, 1, 1 << 18},
        Size{"vocabulary", "vocab_size", c.vocabulary, 2, 1 << 24},
        Size{"positions", "max_position_embeddings", c.positions, 1, 1 << 22},
        Size{"labels", "num_labels", c.labels, 1, 1 << 20}})
    check(
        value >= least && value <= most, "{} is {}; it must lie between {} and {}",
        source.empty() ? fmt::format("memory: --{}", option) : fmt::format("{}: '{}'", source, key),
        value, least, most);
  check(c.dim % c.heads == 0, "{}: {} heads do not divide dim {}",
        source.empty() ? "memory" : source, c.heads, c.dim);
}

i64 parse_scale(const std::string& text) {
  double number = 0;
  const char *begin = text.data(), *end = begin + text.size();
  const auto [rest, error] = std::from_chars(begin, end, number);
  const std::string unit(rest, end);
  static const std::map<std::string, double> units{{"", 1},    {"k", 1e3},  {"K", 1e3},
                                                   {"m", 1e6}, {"M", 1e6},  {"b", 1e9},
                                                   {"B", 1e9}, {"t", 1e12}, {"T", 1e12}};
  check(error == std::errc() && units.contains(unit),
        "scale: '{}' is no number of parameters; write it as 7b, 1.5b, 350m or 66000000", text);
  const double parameters = number * units.at(unit);
  check(parameters >= 2.5e6 && parameters <= 1e13,
        "scale: {} parameters; it must lie between 2.5m and 10t", text);
  return static_cast<i64>(parameters);
}

nn::EncoderConfig config_of_scale(i64 parameters) {
  constexpr i64 kHead = 64, kAspect = 128;
  nn::EncoderConfig config;
  config.layers = std::max<i64>(
      1, std::llround(std::cbrt(static_cast<double>(parameters) / (12.0 * kAspect * kAspect))));
  const auto set_dim = [&](i64 dim) {
    config.dim = dim;
    config.heads = dim / kHead;
    config.hidden = 4 * dim;
    return std::abs(count_parameters(config) - parameters);
  };
  i64 best = kHead;
  for (i64 dim = kHead, nearest = set_dim(dim); set_dim(dim) <= nearest; dim += kHead) {
    nearest = set_dim(dim);
    best = dim;
  }
  set_dim(best);
  return config;
}

}  // namespace minima

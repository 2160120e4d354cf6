/// predict_step: a step is run on sizes. Each op and layer is written as its original is, with the same lifetimes.
#include <optional>

#include "train/memory.hpp"
#include "train/memory_tape.hpp"

namespace minima {
namespace sizes {
namespace {

/// The ops, and the layers that own parameters.
class Model {
 public:
  Model(const nn::EncoderConfig& config, const BatchShape& batch, const StepKind& kind)
      : config_(config), batch_(batch), kind_(kind) {}

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
    const Tensor divisor = tape.allocate(1, "log sums", 8);
    {  // the mean, and its accumulators in double
      const Tensor mean = tape.allocate(1, "loss");
      tape.allocate(std::max<i64>(1, (rows + (1 << 14) - 1) >> 14), "", 8);
      loss = mean;
    }
    return tape.record(
        loss, 1, 1, {logits.node},
        [this, rows, columns = logits.columns, logits = logits.value, logsumexp, divisor,
         loss](const Tensor&) { return Grads{tape.allocate(rows * columns)}; });
  }

  // ---- autograd/autocast.hpp

  bool narrow() const { return kind_.precision != DType::f32; }
  /// Kept: two bytes a number.
  Tensor kept(i64 size, const char* name) { return tape.allocate(size, name, 2); }
  /// rounded(x).
  Tensor rounded(i64 size, const char* name = "") {
    const Tensor two_bytes = tape.allocate(size, "", 2);
    return tape.allocate(size, name);
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
  /// `input`: its name among the activations.
  Variable apply(const Linear& layer, const Variable& x, const char* input) {
    if (narrow()) return apply(layer, x, kept(x.rows * layer.in, input));
    const i64 rows = x.rows;
    const std::size_t weight = tape.leaf(), bias = tape.leaf();
    return tape.record(
        tape.allocate(rows * layer.out, layer.name), rows, layer.out, {x.node, weight, bias},
        [this, rows, in = layer.in, out = layer.out, x = x.value](const Tensor&) {
          return Grads{tape.allocate(rows * in), tape.allocate(out * in), column_sums(rows, out)};
        });
  }

  /// From numbers of two bytes: the weights are there for the moment.
  Tensor input_gradient(i64 rows, i64 in, i64 out) {
    const Tensor w = rounded(out * in);
    return tape.allocate(rows * in);
  }

  /// linear_of: the input is kept already, in two bytes.
  Variable apply(const Linear& layer, const Variable& x, const Tensor& input) {
    const i64 rows = x.rows, in = layer.in, out = layer.out;
    const std::size_t weight = tape.leaf(), bias = tape.leaf();
    const Tensor y = [&] {
      const Tensor w = rounded(out * in), x = tape.allocate(rows * in);
      return tape.allocate(rows * out);
    }();
    return tape.record(rounded(rows * out, layer.name), rows, out, {x.node, weight, bias},
                       [this, rows, in, out, input](const Tensor&) {
                         const Tensor dy = rounded(rows * out);
                         Tensor dx = input_gradient(rows, in, out);
                         const Tensor x = tape.allocate(rows * in);
                         Tensor dw = tape.allocate(out * in);
                         return Grads{std::move(dx), std::move(dw), column_sums(rows, out)};
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
    if (narrow()) return narrow_feed_forward(lin1, lin2, x, std::move(inputs));
    const Tensor h = tape.allocate(rows * hidden, lin1.name);
    const Tensor g = tape.allocate(rows * hidden);
    return tape.record(tape.allocate(rows * out, lin2.name), rows, out, std::move(inputs),
                       [this, rows, in, hidden, out, x = x.value, h](const Tensor&) {
                         const Tensor dh = tape.allocate(rows * hidden);
                         Tensor dw2 = tape.allocate(out * hidden), db2 = column_sums(rows, out);
                         Tensor dw1 = tape.allocate(hidden * in), db1 = column_sums(rows, hidden);
                         return Grads{tape.allocate(rows * in), dw1, db1, dw2, db2};
                       });
  }

  Variable narrow_feed_forward(const Linear& lin1, const Linear& lin2, const Variable& x,
                               std::vector<std::size_t> inputs) {
    const i64 rows = x.rows, in = lin1.in, hidden = lin1.out, out = lin2.out;
    const Tensor input = kept(rows * in, "first norm");
    const Tensor h = [&] {
      const Tensor w = rounded(hidden * in), x = tape.allocate(rows * in);
      const Tensor wide = tape.allocate(rows * hidden);
      return kept(rows * hidden, lin1.name);
    }();
    const auto gelu = [this, rows, hidden, h] {
      const Tensor wide = tape.allocate(rows * hidden), g = tape.allocate(rows * hidden);
      return rounded(rows * hidden);
    };
    const Tensor y = [&] {
      const Tensor w = rounded(out * hidden), g = gelu();
      return tape.allocate(rows * out);
    }();
    return tape.record(rounded(rows * out, lin2.name), rows, out, std::move(inputs),
                       [this, rows, in, hidden, out, input, h, gelu](const Tensor&) {
                         const Tensor dy = rounded(rows * out);
                         const Tensor dg = input_gradient(rows, hidden, out);
                         const Tensor dh = [&] {
                           const Tensor wide = tape.allocate(rows * hidden),
                                        product = tape.allocate(rows * hidden);
                           return rounded(rows * hidden);
                         }();
                         Tensor dx = input_gradient(rows, in, hidden), x = tape.allocate(rows * in);
                         Tensor dw1 = tape.allocate(hidden * in), db1 = column_sums(rows, hidden);
                         x = Tensor();
                         const Tensor g = gelu();
                         Tensor dw2 = tape.allocate(out * hidden);
                         return Grads{dx, dw1, db1, dw2, column_sums(rows, out)};
                       });
  }

  Variable residual_norm(const Variable& x, const Variable& residual, double rate, const Rows& rows,
                         const char* sum_name, const char* name) {
    const i64 n = x.rows, d = x.columns;
    const std::size_t gamma = tape.leaf(), beta = tape.leaf();
    if (narrow())
      return narrow_residual_norm({x.node, residual.node, gamma, beta}, n, d, rate, rows, sum_name,
                                  name);
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

  Variable narrow_residual_norm(std::vector<std::size_t> inputs, i64 n, i64 d, double rate,
                                const Rows& rows, const char* sum_name, const char* name) {
    const Tensor sum = [&] {
      const Tensor dropped = rate > 0 ? tape.allocate(n * d) : nullptr;
      const Tensor wide = tape.allocate(n * d);
      return kept(n * d, sum_name);
    }();
    const Tensor wide = tape.allocate(n * d);
    Tensor y = tape.allocate(n * d, name);
    const Tensor mean = tape.allocate(n, "means"), rstd = tape.allocate(n, "1/deviations");
    return tape.record(std::move(y), n, d, std::move(inputs),
                       [this, n, d, rate, sum, mean, rstd, positions = rows.positions,
                        examples = rows.examples](const Tensor&) {
                         const i64 chunks = (n + 15) / 16;
                         Tensor dsum, dgamma, dbeta;
                         {
                           const Tensor wide = tape.allocate(n * d);
                           dsum = tape.allocate(n * d);
                           const Tensor gammas = tape.allocate(chunks * d),
                                        betas = tape.allocate(chunks * d);
                           dgamma = column_sums(chunks, d);
                           dbeta = column_sums(chunks, d);
                         }
                         const Tensor dx = rate > 0 ? tape.allocate(n * d) : dsum;
                         return Grads{dx, dsum, dgamma, dbeta};
                       });
  }

  /// `asking`: null where all rows of x ask.
  Variable projected_attention(const Variable& x, const Variable* asking, const Linear& q_lin,
                               const Linear& k_lin, const Linear& v_lin, const Rows& rows) {
    if (narrow()) return narrow_attention(x, asking, q_lin, k_lin, v_lin, rows);
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

  Variable narrow_attention(const Variable& x, const Variable* asking, const Linear& q_lin,
                            const Linear& k_lin, const Linear& v_lin, const Rows& rows) {
    const i64 d = x.columns, all = x.rows, asked = asking ? asking->rows : all;
    const Tensor input = kept(all * d, "input");
    const Variable v = apply(v_lin, x, input), k = apply(k_lin, x, input);  // as the compiler goes
    const Variable q = asking ? apply(q_lin, *asking, "first tokens") : apply(q_lin, x, input);
    std::vector<Tensor> qkv{kept(asked * d, q_lin.name), kept(all * d, k_lin.name),
                            kept(all * d, v_lin.name)};
    Tensor y, log_sum;
    {
      const Tensor wide = tape.allocate((asked + 2 * all) * d);
      y = tape.allocate(asked * d);
      log_sum = tape.allocate(config_.heads * asked, "log sums");
    }
    return tape.record(rounded(asked * d, "context"), asked, d, {q.node, k.node, v.node},
                       [this, d, all, asked, qkv = std::move(qkv), log_sum, offsets = rows.offsets,
                        positions = rows.positions](const Tensor&) {
                         const Tensor wide = tape.allocate((asked + 2 * all) * d),
                                      dy = rounded(asked * d);
                         Tensor dq = tape.allocate(asked * d), dk = tape.allocate(all * d);
                         return Grads{std::move(dq), std::move(dk), tape.allocate(all * d)};
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

  struct Block {
    Linear q_lin, k_lin, v_lin, out_lin, lin1, lin2;
  };
  Block block(const std::string& path) {
    const i64 dim = config_.dim, hidden = config_.hidden;
    const nn::BlockNames& names = names_.block;
    const std::string attention = path + ".attention.";
    const std::string ffn = *names.feed_forward ? path + "." + names.feed_forward : path;
    Block block;
    block.q_lin = linear(attention + names.query, dim, dim, "queries");
    block.k_lin = linear(attention + names.key, dim, dim, "keys");
    block.v_lin = linear(attention + names.value, dim, dim, "values");
    block.out_lin = linear(attention + names.attention_output, dim, dim, "out_lin");
    norm(path + "." + names.attention_norm);
    block.lin1 = linear(ffn + "." + names.lin1, dim, hidden, "lin1");
    block.lin2 = linear(ffn + "." + names.lin2, hidden, dim, "lin2");
    norm(path + "." + names.output_norm);
    return block;
  }
  /// Of all tokens, or of those that are `asked` for: the first of each text.
  Variable apply(const Block& block, const Variable& x, const Rows& rows,
                 const std::optional<Rows>& asked) {
    std::optional<Variable> asking;
    if (asked) asking = first_tokens(x);
    const Rows& asked_rows = asked ? *asked : rows;
    const auto attend = [&] {
      return apply(block.out_lin,
                   projected_attention(x, asking ? &*asking : nullptr, block.q_lin, block.k_lin,
                                       block.v_lin, asked_rows),
                   "context");
    };
    const Variable h =
        residual_norm(attend(), asking ? *asking : x, config_.attention_output_dropout, asked_rows,
                      "first sum", "first norm");
    return residual_norm(feed_forward(block.lin1, block.lin2, h), h, config_.dropout, asked_rows,
                         "second sum", "output");
  }

  Variable encoder(const Rows* asked) {
    tape.scope = "embeddings";
    const Rows rows{nullptr, nullptr, tape.allocate(batch_.tokens, "examples of rows", 8)};
    Variable x = embeddings(rows);
    for (i64 i = 0; i < config_.layers; ++i) {
      tape.scope = fmt::format("block {}", i);
      const Block layer = block(fmt::format("{}.{}.{}", names_.model_type, names_.layers, i));
      const auto asked_here =
          asked && i + 1 == config_.layers ? std::optional(*asked) : std::nullopt;
      const auto run = [=, this](const Variable& in) { return apply(layer, in, rows, asked_here); };
      x = kind_.checkpoint_layers ? tape.checkpoint(run, x) : run(x);
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
    return apply(classifier,
                 dropout(unary(apply(pre_classifier, encoded, "pooled"), false, "features"),
                         config_.classifier_dropout, rows, "dropout"),
                 "features");
  }

  Tape tape;
  std::vector<ParameterShape> parameters;

 private:
  const nn::EncoderConfig& config_;
  const nn::ArchitectureNames& names_ = config_.names();
  const BatchShape& batch_;
  const StepKind& kind_;
};

}  // namespace
}  // namespace sizes

void check_step(const nn::EncoderConfig& config, const BatchShape& batch) {
  check_sizes(config);
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

StepMemory predict_step(const nn::EncoderConfig& config, const BatchShape& batch,
                        const StepKind& kind) {
  check_step(config, batch);
  StepMemory result;
  result.batch = batch;
  sizes::Model model(config, batch, kind);
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
    model.tape.backward(loss, model.tape.allocate(1));
    result.gradient_bytes = model.tape.gradient_bytes();
    result.left_for_update = allocator.live;
  }
  result.working_peak = allocator.peak;
  result.parameters = std::move(model.parameters);
  for (const ParameterShape& parameter : result.parameters)
    result.parameter_count += parameter.shape.size();
  result.parameter_bytes = 4 * result.parameter_count;
  return result;
}

}  // namespace minima

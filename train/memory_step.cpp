/// predict_step: a step is run on sizes. Each op and layer is written as its original is, with the same lifetimes.
#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "core/ops/linear_cross_entropy.hpp"
#include "core/ops/matmul_rows.hpp"
#include "train/finetuning.hpp"
#include "train/memory.hpp"
#include "train/memory_tape.hpp"
#include "train/precision.hpp"
#include "train/update_in_backward.hpp"

namespace minima {
namespace sizes {
namespace {

/// The ops, and the layers that own parameters.
class Model {
 public:
  Model(const nn::EncoderConfig& config, const BatchShape& batch, const StepKind& kind, Tape& on)
      : tape(on), config_(config), batch_(batch), kind_(kind) {}

  /// The places of weight and bias among the parameters that train, from 1; 0: it is frozen.
  struct Trained {
    std::size_t weight, bias;
  };
  struct Linear : Trained {
    i64 in, out;
    const char* name;
  };

  // ---- core/ops, autograd/functions.cpp, autograd/layers.cpp

  Tensor column_sums(i64 rows, i64 columns) {
    Tensor sums;
    ops::for_chunks_of_sums(rows, [&](i64 chunk) {
      rows = std::max<i64>(ceil_div(rows, chunk), 1);
      sums = tape.allocate(rows * columns);
    });
    return sums;
  }

  Variable add(const Variable& a, const Variable& b, const char* name) {
    return tape.record(tape.allocate(a.rows * a.columns, name), a.rows, a.columns, {a.node, b.node},
                       [](const Tensor& dy) {
                         return Grads{dy, dy};
                       });
  }

  /// `keeps_input`: gelu; else its result: relu.
  Variable unary(const Variable& x, bool keeps_input, const char* name) {
    const Tensor input = wide(x);
    Tensor y = tape.allocate(x.rows * x.columns, name);
    return tape.record(y, x.rows, x.columns, {x.node},
                       [this, size = x.rows * x.columns, kept = keeps_input ? input : y](
                           const Tensor&) { return Grads{tape.allocate(size)}; });
  }

  Variable dropout(const Variable& x, double rate, const Rows& rows, const char* name) {
    if (rate == 0) return x;
    return tape.record(
        tape.allocate(x.rows * x.columns, name), x.rows, x.columns, {x.node},
        [this, size = x.rows * x.columns, positions = rows.positions,
         examples = rows.examples](const Tensor&) { return Grads{tape.allocate(size)}; });
  }

  /// A row for each text: index_select, mean_pool.
  Variable pool(const Variable& x, const char* name) {
    return tape.record(
        tape.allocate(batch_.texts * x.columns, name), batch_.texts, x.columns, {x.node},
        [this, size = x.rows * x.columns](const Tensor&) { return Grads{tape.allocate(size)}; });
  }

  Variable cross_entropy(const Variable& logits) {
    const i64 rows = logits.rows;
    const Tensor numbers = wide(logits);
    Tensor loss = tape.allocate(rows);
    const Tensor statistics = tape.allocate(2 * rows, "softmax statistics");
    const Tensor divisor = tape.allocate(1, "softmax statistics", 8);
    {  // the mean, and its accumulators in double
      const Tensor mean = tape.allocate(1, "loss");
      tape.allocate(std::max<i64>(1, ceil_div(rows, 1 << 14)), "", 8);
      loss = mean;
    }
    return tape.record(loss, 1, 1, {logits.node},
                       [this, rows, columns = logits.columns, numbers, statistics, divisor,
                        loss](const Tensor&) { return Grads{tape.allocate(rows * columns)}; });
  }

  /// The logits of so many rows at once, and of them at once all gradients.
  Variable linear_cross_entropy(const Variable& x, std::size_t w, std::size_t bias) {
    const i64 rows = x.rows, d = x.columns, classes = config_.vocabulary;
    const auto gradient = [&](std::size_t of, i64 size, const char* name) {
      return of == kNoNode ? nullptr : tape.allocate(size, name);
    };
    const Tensor dx = gradient(x.node, rows * d, "gradient of features"),
                 dw = gradient(w, classes * d, "gradient of weights"),
                 dbias = gradient(bias, classes, "gradient of bias");
    const i64 n = std::min(rows, ops::linear_cross_entropy_chunk(classes));
    const Tensor count = tape.allocate(1, "", 8), one = tape.allocate(1);
    {
      const Tensor logits = tape.allocate(n * classes), statistics = tape.allocate(2 * n),
                   sum_of_losses = tape.allocate(1);
      const Tensor sums = dbias ? column_sums(n, classes) : nullptr,
                   added = dbias ? tape.allocate(classes) : nullptr;
    }
    return tape.record(tape.allocate(1, "loss"), 1, 1, {x.node, w, bias},
                       [dx, dw, dbias](const Tensor&) {
                         return Grads{dx, dw, dbias};
                       });
  }

  // ---- autograd/autocast.hpp, Variable::value

  bool narrow() const { return kind_.precision != DType::f32; }
  /// Two bytes a number.
  Tensor rounded(i64 size, const char* name = "") { return tape.allocate(size, name, 2); }
  /// A product's weights as it multiplies them, kept for backward.
  Tensor operand(const std::vector<Linear>& weights) {
    i64 size = 0;
    for (const Linear& w : weights) size += w.in * w.out;
    return narrow() ? rounded(size, "rounded weights") : nullptr;
  }
  /// The same for its input.
  Tensor operand(const Variable& x, const char* name) {
    if (!narrow()) return x.value;
    if (!x.rounded) x.rounded = rounded(x.rows * x.columns, name);
    return x.rounded;
  }
  const Tensor& wide(const Variable& x) {
    if (!x.value) x.value = tape.allocate(x.rows * x.columns);
    return x.value;
  }
  /// What an op gives in two bytes a number.
  Variable given(Variable y) const {
    if (narrow()) y.rounded = std::exchange(y.value, nullptr);
    y.given_rounded = narrow();
    return y;
  }

  // ---- core/ops/matmul.hpp, on the CPU: products of two bytes a number are those of widened numbers

  Tensor widened(i64 size) { return narrow() ? tape.allocate(size) : nullptr; }
  Tensor product(i64 rows, i64 in, i64 out, const char* name = "") {
    if (!narrow()) return tape.allocate(rows * out, name);
    const Tensor x = widened(rows * in), w = widened(out * in), y = tape.allocate(rows * out);
    return rounded(rows * out, name);
  }
  Tensor input_gradient(i64 rows, i64 in, i64 out, bool rounds = false, Tensor so_far = nullptr) {
    const Tensor dy = widened(rows * out), w = widened(out * in);
    const Tensor dx = so_far ? std::move(so_far) : tape.allocate(rows * in);
    return rounds ? rounded(rows * in) : dx;
  }
  /// Of x, where its gradient is a product.
  Tensor product_so_far(std::size_t x, i64 size) { return tape.gradient_so_far(x, 4 * size); }
  struct WeightGradients {
    Tensor w, b;
  };
  WeightGradients weight_gradients(i64 rows, i64 in, i64 out, Trained of = {1, 1}) {
    if (!of.weight && !of.bias) return {};
    const Tensor dy = widened(rows * out), x = of.weight ? widened(rows * in) : nullptr;
    Tensor dw = of.weight ? tape.allocate(out * in) : nullptr;
    return {std::move(dw), of.bias ? column_sums(rows, out) : nullptr};
  }

  // ---- nn: layers

  /// Notes the parameter; its place as in Trained.
  std::size_t add_parameter(const std::string& name, const Shape& shape) {
    parameters.push_back({name, shape});
    if (freezes(kind_.freeze, name)) return 0;
    trained.push_back(parameters.back());
    return trained.size();
  }
  std::size_t leaf(std::size_t place) { return place ? tape.leaf(place) : kNoNode; }

  Linear linear(const std::string& path, i64 in, i64 out, const char* name) {
    const std::size_t weight = add_parameter(path + ".weight", {out, in}),
                      bias = add_parameter(path + ".bias", {out});
    return {{weight, bias}, in, out, name};
  }
  /// `input`: its name among the activations.
  Variable apply(const Linear& layer, const Variable& x, const char* input) {
    const i64 rows = x.rows, in = layer.in, out = layer.out;
    const std::size_t weight = leaf(layer.weight), bias = leaf(layer.bias);
    const Tensor from = operand(x, input), w = operand({layer});
    return given(tape.record(product(rows, in, out, layer.name), rows, out, {x.node, weight, bias},
                             [this, rows, in, out, from, w, rounds = x.given_rounded,
                              trained = layer, need_x = x.node != kNoNode](const Tensor&) {
                               Tensor dx = need_x ? input_gradient(rows, in, out, rounds) : nullptr;
                               auto [dw, db] = weight_gradients(rows, in, out, trained);
                               return Grads{std::move(dx), std::move(dw), std::move(db)};
                             }));
  }

  Trained norm(const std::string& path) {
    const std::size_t weight = add_parameter(path + ".weight", {config_.dim});
    return {weight, add_parameter(path + ".bias", {config_.dim})};
  }
  Variable apply_norm(Trained norm, const Variable& x, const char* name) {
    const i64 rows = x.rows, d = x.columns;
    const std::size_t gamma = leaf(norm.weight), beta = leaf(norm.bias);
    Tensor y = tape.allocate(rows * d, name);
    const Tensor mean = tape.allocate(rows, "means"), rstd = tape.allocate(rows, "1/deviations");
    return tape.record(
        std::move(y), rows, d, {x.node, gamma, beta},
        [this, rows, d, x = x.value, mean, rstd](const Tensor&) {
          const i64 chunks = ceil_div(rows, 16);
          Tensor dx = tape.allocate(rows * d);
          const Tensor dgamma = tape.allocate(chunks * d);
          const Tensor dbeta = tape.allocate(chunks * d);
          return Grads{std::move(dx), column_sums(chunks, d), column_sums(chunks, d)};
        });
  }

  // ---- several layers in one

  Variable feed_forward(const Linear& lin1, const Linear& lin2, const Variable& x) {
    const i64 rows = x.rows, in = lin1.in, hidden = lin1.out, out = lin2.out;
    const std::vector<std::size_t> inputs{x.node, leaf(lin1.weight), leaf(lin1.bias),
                                          leaf(lin2.weight), leaf(lin2.bias)};
    const Tensor from = operand(x, "first norm"), w1 = operand({lin1}), w2 = operand({lin2});
    const Tensor h = product(rows, in, hidden, lin1.name);
    Tensor y = [&] {
      const Tensor g = [&] {
        const Tensor wide_h = widened(rows * hidden), wide_g = tape.allocate(rows * hidden);
        return narrow() ? rounded(rows * hidden) : wide_g;
      }();
      return product(rows, hidden, out, lin2.name);
    }();
    return given(
        tape.record(std::move(y), rows, out, inputs,
                    [this, rows, in, hidden, out, from, w1, w2, h, node = x.node](const Tensor&) {
                      Tensor so_far = product_so_far(node, rows * in);
                      Tensor g = h;  // f32: it takes h's place
                      const Tensor dh = [&] {
                        if (!narrow()) return tape.allocate(rows * hidden);
                        const Tensor wide_h = widened(rows * hidden);
                        Tensor dh = [&] {
                          const Tensor dg = input_gradient(rows, hidden, out),
                                       wide_dh = tape.allocate(rows * hidden);
                          return rounded(rows * hidden);
                        }();
                        const Tensor wide_g = tape.allocate(rows * hidden);
                        g = rounded(rows * hidden);
                        return dh;
                      }();
                      auto [dw2, db2] = weight_gradients(rows, hidden, out);
                      auto [dw1, db1] = weight_gradients(rows, in, hidden);
                      Tensor dx;
                      if (node != kNoNode)
                        dx = input_gradient(rows, in, hidden, false, std::move(so_far));
                      return Grads{dx, dw1, db1, dw2, db2};
                    }));
  }

  Variable residual_norm(Trained norm, const Variable& x, const Variable& residual, double rate,
                         const Rows& rows, const char* sum_name, const char* name) {
    const i64 n = x.rows, d = x.columns;
    const std::size_t gamma = leaf(norm.weight), beta = leaf(norm.bias);
    Tensor y = tape.allocate(n * d, name);
    const Tensor sum = narrow() ? rounded(n * d, sum_name) : tape.allocate(n * d, sum_name),
                 mean = tape.allocate(n, "means"), rstd = tape.allocate(n, "1/deviations"),
                 for_products = narrow() ? rounded(n * d, name) : nullptr;
    Variable result = tape.record(
        std::move(y), n, d, {x.node, residual.node, gamma, beta},
        [this, n, d, rate, sum, mean, rstd, positions = rows.positions,
         examples = rows.examples](const Tensor&) {
          const i64 chunks = ceil_div(n, 16);
          const Tensor dresidual = tape.allocate(n * d);
          const Tensor dx = narrow() ? rounded(n * d) : rate > 0 ? tape.allocate(n * d) : dresidual;
          const Tensor dgamma = tape.allocate(chunks * d);
          const Tensor dbeta = tape.allocate(chunks * d);
          return Grads{dx, dresidual, column_sums(chunks, d), column_sums(chunks, d)};
        });
    result.rounded = for_products;
    return result;
  }

  /// `asking`: null where all rows of x ask.
  Variable projected_attention(const Variable& x, const Variable* asking, const Linear& q_lin,
                               const Linear& k_lin, const Linear& v_lin, const Rows& rows) {
    const i64 d = x.columns, all = x.rows, asked = asking ? asking->rows : all;
    std::vector<std::size_t> inputs{x.node, asking ? asking->node : kNoNode};
    for (const Linear* layer : {&q_lin, &k_lin, &v_lin}) {
      inputs.push_back(leaf(layer->weight));
      inputs.push_back(leaf(layer->bias));
    }
    const Tensor w = operand({q_lin, k_lin, v_lin}), from = operand(x, "input"),
                 from_asking = asking ? operand(*asking, "first tokens") : nullptr;
    std::vector<Tensor> kept;
    if (!narrow()) {
      kept = {tape.allocate(asked * d, q_lin.name), tape.allocate(all * d, k_lin.name),
              tape.allocate(all * d, v_lin.name)};
    } else {
      if (asking) kept.push_back(product(asked, d, d, q_lin.name));
      kept.push_back(product(all, d, (asking ? 2 : 3) * d, asking ? k_lin.name : q_lin.name));
    }
    Tensor y;
    {
      const Tensor wide_qkv = widened((asked + 2 * all) * d);
      y = tape.allocate(asked * d, narrow() ? "" : "context");
      kept.push_back(tape.allocate(config_.heads * asked, "log sums"));
      if (narrow()) y = rounded(asked * d, "context");
      kept.push_back(y);
    }
    return given(tape.record(
        std::move(y), asked, d, std::move(inputs),
        [this, d, all, asked, w, from, from_asking, kept = std::move(kept), offsets = rows.offsets,
         positions = rows.positions, node = x.node](const Tensor&) mutable {
          Tensor so_far = product_so_far(node, all * d);
          Tensor dq, dkv;
          {
            const Tensor wide_qkv = widened((asked + 2 * all) * d);
            if (from_asking) dq = tape.allocate(asked * d);
            dkv = tape.allocate((from_asking ? 2 : 3) * all * d);
            const Tensor dy = widened(asked * d);
          }
          kept.clear();
          if (narrow()) {
            if (from_asking) dq = rounded(asked * d);
            dkv = rounded((from_asking ? 2 : 3) * all * d);
          }
          Grads grads(8);
          // Weights and biases of a product; several of them are views of one tensor.
          const auto weights = [&](std::size_t first, i64 rows_in, i64 count) {
            const Tensor dy = widened(rows_in * count * d), x = widened(rows_in * d);
            const Tensor dw = tape.allocate(count * d * d), db = column_sums(rows_in, count * d);
            for (std::size_t i = first; i < first + 2 * static_cast<std::size_t>(count); i += 2)
              grads[i] = tape.part(dw, d * d), grads[i + 1] = tape.part(db, d);
          };
          if (from_asking) {
            weights(2, asked, 1);
            if (node != kNoNode) grads[1] = input_gradient(asked, d, d);
          }
          weights(from_asking ? 4 : 2, all, from_asking ? 2 : 3);
          if (node != kNoNode)
            grads[0] = input_gradient(all, d, (from_asking ? 2 : 3) * d, false, std::move(so_far));
          return grads;
        }));
  }

  /// How many rows of the table get a gradient: `most`, or fewer where it is `looked_up` less often in a batch.
  Variable embedding(std::size_t place, i64 looked_up, i64 most, const Tensor& ids = nullptr) {
    const i64 d = config_.dim;
    return tape.record(
        tape.allocate(batch_.tokens * d), batch_.tokens, d,
        {place ? tape.leaf(place, d, most, place == words_ && kind_.texts == Texts::plain)
               : kNoNode},
        [this, rows = std::min(looked_up, most), d, ids](const Tensor&) {
          return Grads{tape.rows_of_table(rows, d)};
        });
  }

  // ---- nn/transformer.cpp, nn/models

  Variable embeddings(const Rows& rows) {
    const std::string path = fmt::format("{}.embeddings.", names_.model_type);
    const bool typed = config_.architecture == nn::Architecture::bert;
    const auto table = [&](const char* name, i64 size) {
      return add_parameter(path + name, {size, config_.dim});
    };
    words_ = table("word_embeddings.weight", config_.vocabulary);
    const std::size_t positions = table("position_embeddings.weight", config_.positions),
                      types =
                          typed ? table("token_type_embeddings.weight", config_.token_types) : 0;
    const Trained layer_norm = norm(path + "LayerNorm");
    Variable sum = add(embedding(words_, batch_.tokens, config_.vocabulary - 1),  // not of [PAD]
                       embedding(positions, batch_.longest, batch_.longest), "sum");
    if (typed) {
      const Tensor ids = tape.allocate(batch_.tokens, "token types", 8);  // all 0
      sum = add(sum, embedding(types, 1, 1, ids), "sum");
    }
    return dropout(apply_norm(layer_norm, sum, "norm"), config_.dropout, rows, "output");
  }

  struct Block {
    Linear q_lin, k_lin, v_lin, out_lin, lin1, lin2;
    Trained attention_norm, output_norm;
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
    block.attention_norm = norm(path + "." + names.attention_norm);
    block.lin1 = linear(ffn + "." + names.lin1, dim, hidden, "lin1");
    block.lin2 = linear(ffn + "." + names.lin2, hidden, dim, "lin2");
    block.output_norm = norm(path + "." + names.output_norm);
    return block;
  }
  /// Of all tokens, or of those that are `asked` for: the first of each text.
  Variable apply(const Block& block, const Variable& x, const Rows& rows,
                 const std::optional<Rows>& asked) {
    std::optional<Variable> asking;
    if (asked) asking = pool(x, "first tokens");
    const Rows& asked_rows = asked ? *asked : rows;
    const auto attend = [&] {
      return apply(block.out_lin,
                   projected_attention(x, asking ? &*asking : nullptr, block.q_lin, block.k_lin,
                                       block.v_lin, asked_rows),
                   "context");
    };
    const Variable h =
        residual_norm(block.attention_norm, attend(), asking ? *asking : x,
                      config_.attention_output_dropout, asked_rows, "first sum", "first norm");
    return residual_norm(block.output_norm, feed_forward(block.lin1, block.lin2, h), h,
                         config_.dropout, asked_rows, "second sum", "output");
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
      return pool(all, "mean of tokens");
    }
    const Rows rows = first_rows();
    return encoder(&rows);
  }

  Variable logits() {
    const i64 dim = config_.dim;
    const Rows rows = first_rows();
    Variable encoded = pooled();
    tape.scope = "classifier";
    const Linear pre_classifier = linear(names_.pre_classifier, dim, dim, "pre_classifier"),
                 classifier = linear("classifier", dim, config_.labels, "logits");
    Variable x = apply(pre_classifier, std::exchange(encoded, {}), "pooled");
    const Variable features = unary(std::exchange(x, {}), false, "features");
    return apply(classifier, dropout(features, config_.classifier_dropout, rows, "dropout"),
                 "features");
  }

  /// nn/models/masked_lm.cpp
  Variable masked_lm_loss() {
    const std::size_t weight = tape.leaf(), bias = tape.leaf();
    const Variable features = [&] {
      Rows chosen = first_rows();
      chosen.examples = tape.allocate(batch_.texts, "examples of rows", 8);
      const i64 dim = config_.dim;
      const Variable encoded = encoder(&chosen);
      tape.scope = "classifier";
      const Variable x =
          apply(linear(names_.lm_transform, dim, dim, "transform"), encoded, "output");
      const Variable y = unary(x, true, "gelu");
      return apply_norm(norm(names_.lm_norm), y, "features");
    }();
    return linear_cross_entropy(
        features, tape.of_parameter(weight, words_),
        tape.of_parameter(bias, add_parameter(names_.lm_bias, {config_.vocabulary})));
  }

  Tape& tape;
  std::vector<ParameterShape> parameters, trained;

 private:
  std::size_t words_ = 0;  ///< the place of the word embeddings
  const nn::EncoderConfig& config_;
  const nn::ArchitectureNames& names_ = config_.names();
  const BatchShape& batch_;
  const StepKind& kind_;
};

}  // namespace
}  // namespace sizes

void check_step(const nn::EncoderConfig& config, const BatchShape& batch, const StepKind& kind) {
  check_limits(config);
  check_accumulate(kind.accumulate, kind.update_in_backward);
  check(batch.texts > 0 && batch.longest > 0 && batch.tokens >= batch.texts,
        "memory: a batch of {} texts with {} tokens; give at least 1 of each", batch.texts,
        batch.tokens);
  check(batch.longest <= config.positions,
        "memory: texts of {} tokens, the model has {} positions; give a shorter --length or more "
        "--positions",
        batch.longest, config.positions);
  check(batch.tokens <= BatchShape::kMostTokens,
        "memory: a batch of {} tokens; at most {} are counted", batch.tokens,
        BatchShape::kMostTokens);
}

StepMemory predict_step(const nn::EncoderConfig& config, const BatchShape& batch,
                        const StepKind& kind) {
  check_step(config, batch, kind);
  StepMemory result;
  result.batch = batch;
  sizes::Tape tape;
  const i64 last = kind.accumulate - 1;
  // What is there when a batch begins changes with the first two; later ones add rows of embeddings alone.
  for (const i64 number :
       std::set<i64>{0, std::min<i64>(1, last), std::max<i64>(0, last - 1), last}) {
    tape.begin_batch(number);
    sizes::Model model(config, batch, kind, tape);
    const sizes::Tensor inputs = tape.allocate(2 * batch.tokens + 3 * batch.texts + 1, "", 8);
    result.batch_bytes = *inputs;
    const i64 before = tape.allocator.live;
    const sizes::Variable loss = [&] {
      if (kind.texts == Texts::plain) return model.masked_lm_loss();
      const sizes::Variable logits = model.logits();
      result.logits_bytes = *model.wide(logits);
      return model.cross_entropy(logits);
    }();
    std::vector<std::string> names;
    for (const ParameterShape& parameter : model.parameters) names.push_back(parameter.name);
    check_freezing(kind.freeze, names);
    check(!model.trained.empty(), "freeze: nothing is left to train");
    result.activations = tape.kept();
    std::stable_partition(
        result.activations.begin(), result.activations.end(), [](const Activation& activation) {
          return activation.scope != "classifier";  // its tensors frame the others
        });
    result.activation_bytes = tape.allocator.live - before;
    if (kind.update_in_backward) {
      const sizes::Tensor dy = tape.allocate(1);
      tape.together = kUpdatedTogether;
      tape.backward(loss, dy);
      tape.update();
      result.gradient_bytes = tape.most_waiting;
      result.updates = std::move(tape.updates);
    } else {
      tape.backward(loss, tape.allocate(1));
      result.gradient_bytes = tape.gradient_bytes();
      result.updates = {{tape.allocator.live, std::vector<std::size_t>(model.trained.size())}};
      std::iota(result.updates[0].places.begin(), result.updates[0].places.end(), 0);
    }
    result.parameters = std::move(model.parameters);
    result.trained = std::move(model.trained);
  }
  result.working_peak = tape.allocator.peak;
  for (const ParameterShape& parameter : result.parameters)
    result.parameter_count += parameter.shape.size();
  for (const ParameterShape& parameter : result.trained)
    result.trained_count += parameter.shape.size();
  result.parameter_bytes = 4 * result.parameter_count;
  return result;
}

}  // namespace minima

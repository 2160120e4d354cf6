/// What training a classifier, or a masked language model, needs in memory, computed from its sizes alone: nothing
/// is allocated.
///
///     StepMemory step = predict_step(nn::preset("distilbert-base"), BatchShape::of_texts(32, 128));
///     OptimizerMemory adamw = predict_optimizer("adamw", step);
///     adamw.peak_bytes;                            // the most that a training step holds at once
///
/// Four things are held. *Weights* and the optimizer's *state* (optim/storage/plan.hpp) stay. *Activations*
/// are what forward keeps for backward, and *gradients* are what backward leaves for the optimizer:
/// these grow while those shrink, so the peak of a step is mostly below the sum of all four (and above it
/// where ops hold more temporarily). To find it, the step is run on sizes: each op of
/// autograd and each layer of the model has a counterpart in memory_step.cpp that makes tensors of which
/// only the size exists. Where several batches are accumulated, a later one finds the gradients of those
/// before, and the peak is near the sum.
///
/// What one transformer block keeps, in numbers for each of its rows (in brackets: who needs it):
///
///     queries, keys, values    3 dim       (projected_attention)
///     log sums                 heads       (the softmax is computed again from them)
///     context                  dim         (out_lin)
///     first sum                dim + 2     (sa_layer_norm, with the row's mean and 1/deviation)
///     first norm               dim         (feed_forward)
///     lin1                     hidden      (feed_forward, which computes gelu again)
///     second sum               dim + 2     (output_layer_norm)
///     output                   dim         (the next block)
///
/// so 8 dim + hidden + heads + 4 in all. With products of bf16 or fp16 these are two bytes each, but for the log sums,
/// means and deviations, and are kept once for every product that reads them: again 8 dim + hidden. Around each product
/// its operands temporarily take four bytes (autograd/autocast.hpp). Dropout keeps nothing: its mask is computed again.
/// Where a classifier reads the first token alone, the last block has keys and values for every token and
/// the rest for one row of each text. With checkpointed layers a block keeps its input alone until
/// backward comes to it, and then all of this, of one block at a time.
///
/// Counted are tensors, in bytes as requested, as core/buffer.hpp counts them. Outside of them are
/// the program itself, what the allocator keeps for reuse, and scratch: each thread's attention
/// matrices (144 + 2·dim/heads floats for each token of the longest text) and the sums of matrix
/// rules (8 bytes for each row and column). On a GPU there are in their place gpu_scratch_bytes, and
/// what CUDA and cuBLAS take for themselves.
#pragma once

#include "data/dataset.hpp"
#include "nn/models/config.hpp"
#include "optim/storage/plan.hpp"

namespace minima {

/// The sizes of a batch; no token occurs twice in it, which is the most that gradients of
/// embeddings can need.
struct BatchShape {
  static constexpr i64 kMostTokens = i64{1} << 24;  ///< that are counted
  i64 texts = 0, tokens = 0, longest = 0;

  static BatchShape of_texts(i64 n, i64 length) { return {n, n * length, length}; }
  /// `tokens` in texts of `length`; the last may be shorter.
  static BatchShape of_tokens(i64 tokens, i64 length) {
    return {ceil_div(tokens, length), tokens, std::min(tokens, length)};
  }
};

/// A tensor that forward keeps for backward.
struct Activation {
  std::string scope;  ///< "embeddings", "block 0", …, "classifier"
  std::string name;   ///< as in the list above
  i64 bytes = 0;
};

/// What lives while the optimizer works on some of the parameters, which are named by their places in StepMemory::trained.
struct UpdateMemory {
  i64 bytes;  ///< batch, loss, gradients, and in backward activations
  std::vector<std::size_t> places;
};

/// What a training step holds, whatever the optimizer. Bytes.
struct StepMemory {
  BatchShape batch;
  std::vector<ParameterShape> parameters;  ///< of the model, in its order
  std::vector<ParameterShape> trained;     ///< those that are not frozen; of them there is state
  i64 parameter_count = 0, trained_count = 0;
  i64 parameter_bytes = 0;
  std::vector<Activation> activations;
  i64 activation_bytes = 0;
  i64 logits_bytes = 0;  ///< among the activations
  i64 batch_bytes = 0;   ///< ids, positions, offsets, labels
  /// Dense, but of embeddings only the rows that the batch looks up; with update_in_backward the most that wait at once.
  i64 gradient_bytes = 0;
  i64 working_peak = 0;  ///< the most of batch, activations, gradients and temporaries at once
  std::vector<UpdateMemory> updates;  ///< one of all; in backward several
};

/// How the step is done.
struct StepKind {
  bool checkpoint_layers = false;        ///< see nn::Pass
  bool update_in_backward = false;       ///< see train/update_in_backward.hpp
  DType precision = DType::f32;          ///< of products
  std::vector<std::string> freeze = {};  ///< see freeze, train/finetuning.hpp
  i64 accumulate = 1;                    ///< batches of it, of which no two share a token
  Texts texts = Texts::labelled;         ///< plain: a language model, a token of each is hidden
};

StepMemory predict_step(const nn::EncoderConfig& config, const BatchShape& batch,
                        const StepKind& kind = {});
/// Throws Error for what predict_step and measure_step refuse: a size of the config that is out of range
/// (check_limits); a batch that is empty, of more than kMostTokens, or of longer texts than the model has
/// positions; and what check_accumulate refuses. They also refuse what freeze does.
void check_step(const nn::EncoderConfig& config, const BatchShape& batch, const StepKind& kind);

/// What ops on a GPU may hold for the moment, beyond the peak: a product its workspace (core/ops/matmul.hpp), or
/// attention's backward a number for each row of each head.
i64 gpu_scratch_bytes(const nn::EncoderConfig& config, const BatchShape& batch);

/// One optimizer's share.
struct OptimizerMemory {
  std::string spec;
  StatePlan state;
  /// Of the state's elements, those of a first moment or what stands for one: the slots exp_avg,
  /// momentum_buffer, and the low-rank basis and coef.
  i64 momentum = 0;
  i64 temporary_bytes = 0;  ///< the most of its step, above zero only for matrix rules
  i64 sum_bytes = 0;        ///< weights + gradients + state + activations
  i64 peak_bytes = 0;       ///< of a whole step, all of it
};

/// Throws Error as make_optimizer does.
OptimizerMemory predict_optimizer(const std::string& spec, const StepMemory& step);

/// Throws Error (Fault::memory) where the host has less than any step of training the model on it must hold, or that with
/// the largest batch between forward and backward, before anything is allocated. `specs` come one after another (--switch):
/// where one takes over, the states of both are there.
void check_fits(const nn::EncoderConfig& config, const std::vector<std::string>& specs,
                const StepKind& kind = {}, const BatchShape& largest = BatchShape::of_texts(1, 1));

/// The same from the allocator: builds the model and the optimizer and takes one real step, with
/// clipping where the kind allows it, on a batch of that shape. Throws Error as predict_step, and where memory is short.
struct MeasuredMemory {
  i64 parameter_bytes, state_elements, state_bytes, activation_bytes, gradient_bytes, peak_bytes;
};
MeasuredMemory measure_step(const nn::EncoderConfig& config, const BatchShape& batch,
                            const std::string& spec, const StepKind& kind = {});

/// Every prediction that the measurement contradicts, each with both numbers; empty when all hold.
/// They must agree to the byte, the peak within 2 %; on several threads it may also be lower by the optimizer's temporaries,
/// which need not meet.
std::vector<std::string> disagreements(const StepMemory& step, const OptimizerMemory& optimizer,
                                       const MeasuredMemory& measured);

/// Throws Error, naming the size, its value and its limits, unless every size can be counted: dim
/// and heads up to 2¹⁶, layers 1,000, hidden 2¹⁸, vocabulary 2 (one is [PAD]) to 2²⁴, positions 2²²,
/// labels 2²⁰. With them no product of sizes leaves an i64. `source` is the config.json they were
/// read from; without one they are named as on the command line.
void check_limits(const nn::EncoderConfig& config, const std::string& source = "");

/// "7b", "1.5B", "350m", "66000000" → a number of parameters. Throws Error for what is no number,
/// or not between 2.5 million and 10 trillion.
i64 parse_scale(const std::string& text);

/// An encoder of about that many parameters: dim/layers is near 128 and hidden is 4 dim, as in
/// published models of 10⁸ to 10¹¹ parameters; heads are 64 wide, or up to 120 where there are fewer than eight; vocabulary,
/// positions and labels are DistilBERT's. So 12 dim² layers + 30,522 dim is about the number asked for; dim, a multiple
/// of 8 for each head, is chosen to come nearest.
nn::EncoderConfig config_of_scale(i64 parameters);

}  // namespace minima

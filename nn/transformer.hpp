/// The transformer block of DistilBERT and BERT: attention and a feed-forward net, each with a
/// residual connection and a layer norm behind it ("post-norm").   Vaswani et al. 2017,
/// arXiv:1706.03762, fig. 1, left.
///
/// Everything works on packed rows: x [T, dim] holds the tokens of all texts one after another.
/// Where only some rows of the result are needed (a classifier reads the first token of each text),
/// the block takes `queries`: keys and values are computed for all tokens, the rest for those rows
/// alone. That is exact, gradients included.
#pragma once

#include "nn/dropout.hpp"
#include "nn/layer_norm.hpp"
#include "nn/linear.hpp"

namespace minima::nn {

/// The sizes and rates of an encoder.
struct TransformerOptions {
  i64 dim = 768, heads = 12, hidden = 3072;
  double dropout = 0.1, attention_dropout = 0.1;
  double attention_output_dropout = 0;  ///< behind attention's last product; DistilBERT has none
  double layer_norm_eps = 1e-12;
  double initializer_range = 0.02;  ///< standard deviation of initial weights
};

/// What a checkpoint calls the parts of a block; an empty name is no level of its own.
struct BlockNames {
  const char *query, *key, *value, *attention_output;  ///< below "attention"
  const char* attention_norm;
  const char* feed_forward;
  const char *lin1, *lin2;  ///< below `feed_forward`
  const char* output_norm;
};

/// Rows of the result that are asked for.
struct Queries {
  Tensor index;     ///< [Q] i64, ascending rows of x
  PackedRows rows;  ///< the same rows, described
};

/// y = out(concat over heads of softmax(q kᵀ / √head_dim) v).   x [T, dim] → [T or Q, dim].
/// `dropout` is that of the probabilities; the other is for the block to apply.
class MultiHeadAttention : public Module {
 public:
  MultiHeadAttention(const TransformerOptions& options, const BlockNames& names);
  /// `asking` are the rows of x that ask (no value: all do), `rows` and `query_rows` describe both.
  Variable operator()(const Variable& x, const Variable& asking, const PackedRows& rows,
                      const PackedRows& query_rows, const Pass& pass) const;
  i64 heads;
  Linear &q_lin, &k_lin, &v_lin, &out_lin;
  Dropout &dropout, &output_dropout;
};

/// lin2(gelu(lin1(x))).   x [R, dim] → [R, dim]. The dropout is for the block to apply.
class FeedForward : public Module {
 public:
  FeedForward(const TransformerOptions& options, const BlockNames& names);
  Variable operator()(const Variable& x) const;
  Linear &lin1, &lin2;
  Dropout& dropout;
};

/// x [T, dim] → y [T or Q, dim].
///
///     h = sa_layer_norm(x + dropout(attention(x)))
///     y = output_layer_norm(h + dropout(ffn(h)))
///
/// Each line is two ops: dropout, residual connection and layer norm are one pass.
class TransformerBlock : public Module {
 public:
  TransformerBlock(const TransformerOptions& options, const BlockNames& names);
  Variable operator()(const Variable& x, const PackedRows& rows, const Pass& pass,
                      const Queries* queries = nullptr) const;
  MultiHeadAttention& attention;
  LayerNorm& sa_layer_norm;
  FeedForward& ffn;
  LayerNorm& output_layer_norm;
};

}  // namespace minima::nn

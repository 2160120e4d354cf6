#include "nn/transformer.hpp"

#include "autograd/functions.hpp"

namespace minima::nn {

MultiHeadAttention::MultiHeadAttention(const TransformerOptions& o, const BlockNames& names)
    : heads(o.heads),
      q_lin(child<Linear>(names.query, o.dim, o.dim, o.initializer_range)),
      k_lin(child<Linear>(names.key, o.dim, o.dim, o.initializer_range)),
      v_lin(child<Linear>(names.value, o.dim, o.dim, o.initializer_range)),
      out_lin(child<Linear>(names.attention_output, o.dim, o.dim, o.initializer_range)),
      dropout(child<Dropout>("dropout", o.attention_dropout)),
      output_dropout(child<Dropout>("output_dropout", o.attention_output_dropout)) {
  check(o.heads > 0 && o.dim % o.heads == 0, "attention: {} heads do not divide dim {}", o.heads,
        o.dim);
  // One after another in memory: so their three products are one (core/ops/projected_attention.hpp).
  Tensor weights = Tensor::zeros({3 * o.dim, o.dim}), biases = Tensor::zeros({3 * o.dim});
  i64 row = 0;
  for (Linear* part : {&q_lin, &k_lin, &v_lin}) {
    part->weight.value = weights.rows(row, row + o.dim);
    part->bias.value = biases.rows(row, row + o.dim);
    row += o.dim;
  }
}

Variable MultiHeadAttention::operator()(const Variable& x, const Variable& asking,
                                        const PackedRows& rows, const PackedRows& query_rows,
                                        const Pass& pass) const {
  const ops::AttentionRows who{query_rows.offsets, query_rows.positions, rows.offsets,
                               rows.example_id};
  const LinearWeights q = q_lin.weights(), k = k_lin.weights(), v = v_lin.weights();
  return out_lin(projected_attention(x, asking, q, k, v, who, heads, dropout.site(pass)));
}

FeedForward::FeedForward(const TransformerOptions& o, const BlockNames& names)
    : lin1(child<Linear>(names.lin1, o.dim, o.hidden, o.initializer_range)),
      lin2(child<Linear>(names.lin2, o.hidden, o.dim, o.initializer_range)),
      dropout(child<Dropout>("dropout", o.dropout)) {}

Variable FeedForward::operator()(const Variable& x) const {
  const LinearWeights first = lin1.weights(), second = lin2.weights();
  return feed_forward(x, first, second);
}

TransformerBlock::TransformerBlock(const TransformerOptions& o, const BlockNames& names)
    : attention(child<MultiHeadAttention>("attention", o, names)),
      sa_layer_norm(child<LayerNorm>(names.attention_norm, o.dim, o.layer_norm_eps)),
      ffn(child<FeedForward>(names.feed_forward, o, names)),
      output_layer_norm(child<LayerNorm>(names.output_norm, o.dim, o.layer_norm_eps)) {}

Variable TransformerBlock::operator()(const Variable& x, const PackedRows& rows, const Pass& pass,
                                      const Queries* queries) const {
  const Variable asking = queries ? index_select(x, 0, queries->index) : Variable();
  const PackedRows& asked = queries ? queries->rows : rows;
  const Variable h = sa_layer_norm(attention(x, asking, rows, asked, pass), queries ? asking : x,
                                   attention.output_dropout.site(pass), asked);
  return output_layer_norm(ffn(h), h, ffn.dropout.site(pass), asked);
}

}  // namespace minima::nn

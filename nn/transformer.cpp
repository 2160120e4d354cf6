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
}

Variable MultiHeadAttention::operator()(const Variable& x, const Variable& x_queries,
                                        const PackedRows& rows, const PackedRows& query_rows,
                                        const Pass& pass) const {
  const ops::AttentionRows who{query_rows.offsets, query_rows.positions, rows.offsets,
                               rows.example_id};
  const Variable y =
      attention(q_lin(x_queries), k_lin(x), v_lin(x), who, heads, dropout.site(pass));
  return output_dropout(out_lin(y), query_rows, pass);
}

FeedForward::FeedForward(const TransformerOptions& o, const BlockNames& names)
    : lin1(child<Linear>(names.lin1, o.dim, o.hidden, o.initializer_range)),
      lin2(child<Linear>(names.lin2, o.hidden, o.dim, o.initializer_range)),
      dropout(child<Dropout>("dropout", o.dropout)) {}

Variable FeedForward::operator()(const Variable& x, const PackedRows& rows,
                                 const Pass& pass) const {
  return dropout(lin2(gelu(lin1(x))), rows, pass);
}

TransformerBlock::TransformerBlock(const TransformerOptions& o, const BlockNames& names)
    : attention(child<MultiHeadAttention>("attention", o, names)),
      sa_layer_norm(child<LayerNorm>(names.attention_norm, o.dim, o.layer_norm_eps)),
      ffn(child<FeedForward>(names.feed_forward, o, names)),
      output_layer_norm(child<LayerNorm>(names.output_norm, o.dim, o.layer_norm_eps)) {}

Variable TransformerBlock::operator()(const Variable& x, const PackedRows& rows, const Pass& pass,
                                      const Queries* queries) const {
  const Variable asked = queries ? index_select(x, 0, queries->index) : x;
  const PackedRows& asked_rows = queries ? queries->rows : rows;
  const Variable h = sa_layer_norm(add(asked, attention(x, asked, rows, asked_rows, pass)));
  return output_layer_norm(add(h, ffn(h, asked_rows, pass)));
}

}  // namespace minima::nn

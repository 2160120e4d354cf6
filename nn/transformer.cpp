#include "nn/transformer.hpp"

#include "autograd/functions.hpp"

namespace minima::nn {

MultiHeadAttention::MultiHeadAttention(const TransformerOptions& o)
    : heads(o.heads),
      q_lin(child<Linear>("q_lin", o.dim, o.dim, o.initializer_range)),
      k_lin(child<Linear>("k_lin", o.dim, o.dim, o.initializer_range)),
      v_lin(child<Linear>("v_lin", o.dim, o.dim, o.initializer_range)),
      out_lin(child<Linear>("out_lin", o.dim, o.dim, o.initializer_range)),
      dropout(child<Dropout>("dropout", o.attention_dropout)) {
  check(o.heads > 0 && o.dim % o.heads == 0, "attention: {} heads do not divide dim {}", o.heads,
        o.dim);
}

Variable MultiHeadAttention::operator()(const Variable& x, const Variable& x_queries,
                                        const PackedRows& rows, const PackedRows& query_rows,
                                        const Pass& pass) const {
  const ops::AttentionRows who{query_rows.offsets, query_rows.positions, rows.offsets,
                               rows.example_id};
  return out_lin(attention(q_lin(x_queries), k_lin(x), v_lin(x), who, heads, dropout.site(pass)));
}

FeedForward::FeedForward(const TransformerOptions& o)
    : lin1(child<Linear>("lin1", o.dim, o.hidden, o.initializer_range)),
      lin2(child<Linear>("lin2", o.hidden, o.dim, o.initializer_range)),
      dropout(child<Dropout>("dropout", o.dropout)) {}

Variable FeedForward::operator()(const Variable& x, const PackedRows& rows,
                                 const Pass& pass) const {
  return dropout(lin2(gelu(lin1(x))), rows, pass);
}

TransformerBlock::TransformerBlock(const TransformerOptions& o)
    : attention(child<MultiHeadAttention>("attention", o)),
      sa_layer_norm(child<LayerNorm>("sa_layer_norm", o.dim, o.layer_norm_eps)),
      ffn(child<FeedForward>("ffn", o)),
      output_layer_norm(child<LayerNorm>("output_layer_norm", o.dim, o.layer_norm_eps)) {}

Variable TransformerBlock::operator()(const Variable& x, const PackedRows& rows, const Pass& pass,
                                      const Queries* queries) const {
  const Variable asked = queries ? index_select(x, 0, queries->index) : x;
  const PackedRows& asked_rows = queries ? queries->rows : rows;
  const Variable h = sa_layer_norm(add(asked, attention(x, asked, rows, asked_rows, pass)));
  return output_layer_norm(add(h, ffn(h, asked_rows, pass)));
}

}  // namespace minima::nn

#include "core/batch.hpp"

#include <numeric>

namespace minima {
namespace {

/// The tensors of a batch in the order in which they lie, and their sizes.
template <class B, class F>
void each_part(const BatchLayout& layout, B& batch, const F& f) {
  f(batch.tokens, layout.tokens);
  f(batch.positions, layout.tokens);
  f(batch.row_example, layout.tokens);
  if (layout.pairs) f(batch.token_types, layout.tokens);
  f(batch.offsets, layout.texts + 1);
  f(batch.text_rows, layout.texts + 1);
  f(batch.example_id, layout.texts);
  f(batch.labels, layout.texts);
}

}  // namespace

BatchLayout::BatchLayout(const Batch& batch)
    : tokens(batch.tokens.size()), texts(batch.texts()), pairs(batch.token_types.defined()) {}

Tensor BatchLayout::numbers(const Batch& batch) const {
  Batch whole = batch;
  whole.row_example = Tensor::empty({tokens}, DType::i64);
  whole.text_rows = Tensor::empty({texts + 1}, DType::i64);
  const auto offset = batch.offsets.span<i64>(), example = batch.example_id.span<i64>();
  i64* const row = whole.row_example.data<i64>();
  for (std::size_t text = 0; text < example.size(); ++text)
    std::fill(row + offset[text], row + offset[text + 1], example[text]);
  std::iota(whole.text_rows.data<i64>(), whole.text_rows.data<i64>() + texts + 1, 0);
  Tensor result = Tensor::empty({size()}, DType::i64);
  i64 at = 0;
  each_part(*this, whole, [&](const Tensor& part, i64 n) {
    result.rows(at, at + n).copy_from(part);
    at += n;
  });
  return result;
}

Batch BatchLayout::in(const Tensor& numbers) const {
  check(numbers.shape() == Shape{size()}, "batch: {} numbers for a layout of {}", numbers.shape(),
        size());
  Batch batch;
  i64 at = 0;
  each_part(*this, batch, [&](Tensor& part, i64 n) {
    part = numbers.rows(at, at + n);
    at += n;
  });
  return batch;
}

Batch filled_up(const Batch& batch, i64 multiple) {
  const auto rounded_up = [](i64 n, i64 to) { return (n + to - 1) / to * to; };
  const i64 before = batch.texts(), tokens = batch.tokens.size();
  const i64 more = rounded_up(before, 16) + 1 - before, all = rounded_up(tokens + more, multiple);
  const auto longer = [](const Tensor& x, i64 size, i64 value) {
    Tensor result = Tensor::full({size}, static_cast<double>(value), DType::i64);
    result.rows(0, x.size()).copy_from(x);
    return result;
  };
  Batch filled{.tokens = longer(batch.tokens, all, 0),
               .positions = longer(batch.positions, all, 0),
               .offsets = longer(batch.offsets, before + more + 1, all),
               .example_id = longer(batch.example_id, before + more, 0),
               .labels = longer(batch.labels, before + more, -100)};
  if (batch.token_types.defined()) filled.token_types = longer(batch.token_types, all, 0);
  for (i64 k = 0; k < more; ++k) {
    filled.example_id.data<i64>()[before + k] = -1 - k;
    filled.offsets.data<i64>()[before + k] = tokens + (all - tokens) * k / more;
  }
  return filled;
}

}  // namespace minima

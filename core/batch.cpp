#include "core/batch.hpp"

#include <algorithm>
#include <numeric>

namespace minima {
namespace {

/// The tensors of a completed batch in the order in which they lie, and their sizes.
template <class B, class F>
void each_part(const BatchLayout& layout, B& batch, const F& f) {
  f(batch.tokens, layout.tokens);
  f(batch.positions, layout.tokens);
  f(batch.row_example, layout.tokens);
  if (layout.pairs) f(batch.token_types, layout.tokens);
  f(batch.offsets, layout.texts + 1);
  f(batch.text_rows, layout.texts + 1);
  f(batch.example_id, layout.texts);
  if (layout.chosen < 0) {
    f(batch.labels, layout.texts);
    return;
  }
  f(batch.labels, layout.chosen);
  f(batch.chosen, layout.chosen);
  f(batch.chosen_offsets, layout.texts + 1);
  f(batch.chosen_positions, layout.chosen);
  f(batch.chosen_example, layout.chosen);
}

void check_texts(const Batch& batch) {
  const i64 tokens = batch.tokens.size(), texts = batch.texts();
  check(batch.positions.size() == tokens && batch.offsets.size() == texts + 1,
        "batch: {} tokens with {} positions, {} texts with {} offsets; each token has one, and "
        "offsets are one more than texts",
        tokens, batch.positions.size(), texts, batch.offsets.size());
  const auto offsets = batch.offsets.span<i64>();
  check(offsets.front() == 0 && offsets.back() == tokens && std::ranges::is_sorted(offsets),
        "batch: offsets must rise from 0 to the {} tokens", tokens);
}

void complete_chosen(Batch& batch) {
  const i64 n = batch.chosen.size();
  const auto chosen = batch.chosen.span<i64>(), offsets = batch.offsets.span<i64>();
  check(n == 0 || (chosen.front() >= 0 && chosen.back() < batch.tokens.size() &&
                   std::ranges::is_sorted(chosen)),
        "batch: the chosen tokens must rise, from 0 to less than the {} tokens",
        batch.tokens.size());
  batch.chosen_offsets = Tensor::empty({std::ssize(offsets)}, DType::i64);
  std::ranges::transform(offsets, batch.chosen_offsets.data<i64>(), [&](i64 offset) {
    return std::ranges::lower_bound(chosen, offset) - chosen.begin();
  });
  batch.chosen_positions = Tensor::empty({n}, DType::i64);
  batch.chosen_example = Tensor::empty({n}, DType::i64);
  for (i64 i = 0; i < n; ++i) {
    const i64 row = batch.chosen.data<i64>()[i];
    batch.chosen_positions.data<i64>()[i] = batch.positions.data<i64>()[row];
    batch.chosen_example.data<i64>()[i] = batch.row_example.data<i64>()[row];
  }
}

}  // namespace

Batch completed(Batch batch) {
  if (!batch.row_example.defined()) {
    check_texts(batch);
    const i64 texts = batch.texts();
    batch.row_example = Tensor::empty({batch.tokens.size()}, DType::i64);
    batch.text_rows = Tensor::empty({texts + 1}, DType::i64);
    const i64* const offsets = batch.offsets.data<i64>();
    i64* const row = batch.row_example.data<i64>();
    for (i64 text = 0; text < texts; ++text)
      std::fill(row + offsets[text], row + offsets[text + 1], batch.example_id.data<i64>()[text]);
    std::iota(batch.text_rows.data<i64>(), batch.text_rows.data<i64>() + texts + 1, 0);
  }
  if (batch.chosen.defined() && !batch.chosen_offsets.defined()) complete_chosen(batch);
  return batch;
}

BatchLayout::BatchLayout(const Batch& batch)
    : tokens(batch.tokens.size()),
      texts(batch.texts()),
      chosen(batch.chosen.defined() ? batch.chosen.size() : -1),
      pairs(batch.token_types.defined()) {}

i64 BatchLayout::size() const {
  i64 all = 0;
  const Batch none;
  each_part(*this, none, [&](const Tensor&, i64 n) { all += n; });
  return all;
}

Tensor BatchLayout::numbers(const Batch& batch) const {
  const Batch whole = completed(batch);
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
  const i64 before = batch.texts(), tokens = batch.tokens.size();
  const i64 more = round_up(before, 16) + 1 - before;
  const i64 chosen = batch.chosen.defined() ? batch.chosen.size() : 0,
            more_chosen = round_up(chosen, multiple) - chosen;
  const i64 all = round_up(tokens + std::max(more, more_chosen), multiple);
  const auto longer = [](const Tensor& x, i64 size, i64 value) {
    Tensor result = Tensor::full({size}, static_cast<double>(value), DType::i64);
    result.rows(0, x.size()).copy_from(x);
    return result;
  };
  const auto with_more_tokens = [&](const Tensor& x) {
    return longer(x, all, tokens > 0 ? x.data<i64>()[0] : 0);
  };
  const i64 more_labels = batch.chosen.defined() ? more_chosen : more;
  Batch filled{.tokens = with_more_tokens(batch.tokens),
               .positions = with_more_tokens(batch.positions),
               .offsets = longer(batch.offsets, before + more + 1, all),
               .example_id = longer(batch.example_id, before + more, 0),
               .labels = longer(batch.labels, batch.labels.size() + more_labels, -100)};
  if (batch.token_types.defined()) filled.token_types = with_more_tokens(batch.token_types);
  for (i64 k = 0; k < more; ++k) {
    filled.example_id.data<i64>()[before + k] = -1 - k;
    filled.offsets.data<i64>()[before + k] = tokens + (all - tokens) * k / more;
  }
  if (batch.chosen.defined()) {
    filled.chosen = longer(batch.chosen, chosen + more_chosen, 0);
    i64* const end = filled.chosen.data<i64>() + chosen + more_chosen;
    std::iota(end - more_chosen, end, all - more_chosen);
  }
  return filled;
}

}  // namespace minima

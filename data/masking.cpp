#include "data/masking.hpp"

#include "core/error.hpp"
#include "core/rng.hpp"

namespace minima {
namespace {

/// A share of all 32-bit words.
u64 threshold(double rate) { return static_cast<u64>(rate * 0x1p32); }

/// Calls visit(text, row, bits) for every token: 128 bits of its own.
template <class Visit>
void for_each_token(const Batch& batch, u64 key, i64 step, const Visit& visit) {
  const i64 *offsets = batch.offsets.data<i64>(), *positions = batch.positions.data<i64>(),
            *example = batch.example_id.data<i64>();
  for (i64 text = 0; text < batch.texts(); ++text)
    for (i64 row = offsets[text]; row < offsets[text + 1]; ++row)
      visit(text, row,
            Philox::block({static_cast<u64>(positions[row]), static_cast<u64>(example[text]),
                           static_cast<u64>(step), 0},
                          key));
}

/// The id of [MASK].
i64 mask_of(const Vocabulary& vocabulary) {
  const i32 mask = vocabulary.special().mask;
  check(mask >= 0, "masking: the vocabulary has no {}, which hides a token",
        vocabulary.names().mask);
  return mask;
}

bool is_special(const Vocabulary& vocabulary, i64 id) {
  const auto& [pad, unk, cls, sep, mask] = vocabulary.special();
  return id == pad || id == unk || id == cls || id == sep || id == mask;
}

}  // namespace

Masking::Masking(const Vocabulary& vocabulary, const MaskingOptions& options)
    : options_(options), mask_(mask_of(vocabulary)) {
  check(options.rate > 0 && options.rate < 1,
        "masking: the rate (--mask-rate) is {}; it must be above 0 and below 1", options.rate);
  check(!options.whole_words || !vocabulary.names().continues.empty(),
        "masking: the vocabulary does not mark the pieces that continue a word (its "
        "continuing_subword_prefix is empty), so that whole words cannot be told; leave out "
        "--whole-words");
  for (i64 id = 0; id < vocabulary.size(); ++id) {
    is_special_.push_back(is_special(vocabulary, id));
    continues_.push_back(vocabulary.token(id).starts_with(vocabulary.names().continues));
    if (!is_special_.back()) ordinary_.push_back(id);
  }
  check(!ordinary_.empty(), "masking: the vocabulary has special tokens only");
}

Batch Masking::operator()(const Batch& batch, i64 step, bool in_every_text) const {
  const u64 key = stream_key(options_.seed, "masking");
  Tensor tokens = batch.tokens.clone();
  const auto continues_word = [&](i64 token) {
    return options_.whole_words && continues_[static_cast<std::size_t>(token)];
  };
  std::vector<u64> chosen_below(static_cast<std::size_t>(batch.texts()), threshold(options_.rate));
  if (in_every_text) {
    std::vector<u64> lowest(chosen_below.size(), threshold(1));
    for_each_token(batch, key, step, [&](i64 text, i64 row, const Philox::Block& bits) {
      const i64 token = tokens.data<i64>()[row];
      u64& least = lowest[static_cast<std::size_t>(text)];
      if (may_hide(token) && !continues_word(token)) least = std::min<u64>(least, bits.x0);
    });
    for (std::size_t text = 0; text < lowest.size(); ++text)
      chosen_below[text] = std::max(chosen_below[text], lowest[text] + 1);
  }
  std::vector<i64> rows, targets;
  bool chosen = false;  // also the word that the token may continue
  for_each_token(batch, key, step, [&](i64 text, i64 row, const Philox::Block& bits) {
    i64& token = tokens.data<i64>()[row];
    if (!may_hide(token))
      chosen = false;
    else if (!continues_word(token))
      chosen = bits.x0 < chosen_below[static_cast<std::size_t>(text)];
    if (!chosen) return;
    rows.push_back(row);
    targets.push_back(token);
    if (bits.x1 < threshold(0.8))
      token = mask_;
    else if (bits.x1 < threshold(0.9))
      token = ordinary_[(bits.x2 * ordinary_.size()) >> 32];
  });
  Batch masked = batch;
  masked.tokens = std::move(tokens);
  masked.chosen = Tensor::from(rows);
  masked.labels = Tensor::from(targets);
  return masked;
}

Batch drop_words(const Batch& batch, const Vocabulary& vocabulary, double rate, u64 seed,
                 i64 step) {
  check(rate >= 0 && rate < 1, "word dropout: the rate is {}; it must be at least 0 and below 1",
        rate);
  if (rate == 0) return batch;
  Tensor tokens = batch.tokens.clone();
  for_each_token(batch, stream_key(seed, "word dropout"), step,
                 [&, mask = mask_of(vocabulary)](i64, i64 row, const Philox::Block& bits) {
                   i64& token = tokens.data<i64>()[row];
                   if (bits.x0 < threshold(rate) && !is_special(vocabulary, token)) token = mask;
                 });
  Batch dropped = batch;
  dropped.tokens = std::move(tokens);
  return dropped;
}

}  // namespace minima

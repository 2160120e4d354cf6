/// Texts → token ids → packed batches (core/batch.hpp), in an order that depends on the seed alone.
#pragma once

#include <vector>

#include "core/batch.hpp"
#include "data/dataset.hpp"
#include "data/token_ids.hpp"
#include "data/tokenizer.hpp"

namespace minima {

/// A split as one array of ids: text i is tokens[offsets[i]] … tokens[offsets[i+1] − 1], [CLS]
/// first and [SEP] last. A pair is [CLS] a [SEP] b [SEP].
struct TokenizedSplit {
  TokenIds tokens;
  std::vector<i64> offsets = {0};
  std::vector<i64> labels;
  i64 max_length = 0;       ///< tokens that texts were cut to
  i64 cut = 0;              ///< texts that had more
  std::vector<i32> second;  ///< where b begins in text i, its length where there is none; empty
                            ///< where no text is a pair

  i64 size() const { return static_cast<i64>(labels.size()); }
  i64 length(i64 i) const { return offsets[i + 1] - offsets[i]; }
};

/// Tokenizes on all threads. A text or pair is cut to `max_length` tokens (the longer of a pair
/// first), [CLS] and [SEP] counted; Error when these have no room.
TokenizedSplit tokenize(const Tokenizer& tokenizer, const std::vector<Example>& examples,
                        i64 max_length);

/// The same texts, none of them a pair, with those of more than `max_length` tokens ([CLS] and [SEP]
/// counted) cut into as many as it takes: nothing of a long one is lost.
TokenizedSplit in_pieces(const TokenizedSplit& split, i64 max_length);

/// How much a batch holds: a number of texts, or as many texts as fit into a number of tokens.
struct BatchSize {
  i64 texts = 0, tokens = 0;  ///< one of them is positive, the other 0

  static BatchSize of_texts(i64 n) { return {.texts = n}; }
  static BatchSize of_tokens(i64 n) { return {.tokens = n}; }
};

/// Indices of the texts of each batch of one epoch: every text once, in an order shuffled by
/// (seed, epoch); only the last batch may be short. Throws Error for a size that is not positive,
/// or a budget of tokens below the longest text.
std::vector<std::vector<i64>> epoch_batches(const TokenizedSplit& split, BatchSize size, u64 seed,
                                            i64 epoch);

/// The same in the order of the split, for evaluation.
std::vector<std::vector<i64>> batches_in_order(const TokenizedSplit& split, BatchSize size);

/// The texts at `indices`, packed. example_id is the index in the split; token_types is defined
/// where the split has pairs.
Batch make_batch(const TokenizedSplit& split, const std::vector<i64>& indices);

}  // namespace minima

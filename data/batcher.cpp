#include "data/batcher.hpp"

#include <algorithm>
#include <numeric>

#include "core/cpu/threads.hpp"
#include "core/error.hpp"
#include "core/rng.hpp"

namespace minima {
namespace {

std::vector<std::vector<i64>> cut(const TokenizedSplit& split, const std::vector<i64>& order,
                                  BatchSize size) {
  check((size.texts > 0) != (size.tokens > 0) && size.texts >= 0 && size.tokens >= 0,
        "batch: its size is {} texts and {} tokens; give one of them, at least 1", size.texts,
        size.tokens);
  std::vector<std::vector<i64>> batches;
  i64 tokens = 0;
  for (const i64 i : order) {
    const i64 length = split.length(i);
    check(size.texts > 0 || length <= size.tokens,
          "batch: text {} has {} tokens, a batch holds {}; allow more tokens or cut the texts "
          "shorter",
          i, length, size.tokens);
    const bool full = batches.empty() || (size.texts > 0 ? std::ssize(batches.back()) == size.texts
                                                         : tokens + length > size.tokens);
    if (full) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(i);
    tokens += length;
  }
  return batches;
}

std::vector<i64> in_order(const TokenizedSplit& split) {
  std::vector<i64> order(static_cast<std::size_t>(split.size()));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

}  // namespace

TokenizedSplit tokenize(const Tokenizer& tokenizer, const std::vector<Example>& examples,
                        i64 max_length) {
  constexpr i64 kChunk = 256;  // texts
  const i64 n = std::ssize(examples);
  std::vector<TokenizedSplit> chunks(static_cast<std::size_t>(ceil_div(n, kChunk)));
  parallel_chunks(n, kChunk, [&](i64 begin, i64 end) {
    TokenizedSplit& chunk = chunks[begin / kChunk];
    Encoding encoding;
    for (i64 i = begin; i < end; ++i) {
      tokenizer.encode(examples[i].text, examples[i].pair, {.max_length = max_length}, encoding);
      for (const i32 id : encoding.ids) chunk.tokens.push_back(id);
      chunk.cut += encoding.cut;
      chunk.offsets.push_back(chunk.tokens.size());
      const auto second = std::ranges::find(encoding.type_ids, 1);
      chunk.second.push_back(static_cast<i32>(second - encoding.type_ids.begin()));
    }
  });

  TokenizedSplit split;
  split.max_length = max_length;
  for (const TokenizedSplit& chunk : chunks) {
    split.cut += chunk.cut;
    const i64 start = split.tokens.size();
    split.tokens.append(chunk.tokens);
    for (std::size_t i = 1; i < chunk.offsets.size(); ++i)
      split.offsets.push_back(start + chunk.offsets[i]);
    split.second.insert(split.second.end(), chunk.second.begin(), chunk.second.end());
  }
  for (const Example& example : examples) split.labels.push_back(example.label);
  if (std::ranges::all_of(examples, [](const Example& e) { return e.pair.empty(); }))
    std::vector<i32>().swap(split.second);
  return split;
}

TokenizedSplit in_pieces(const TokenizedSplit& split, i64 max_length) {
  check(max_length >= 3,
        "in_pieces: a maximum length of {} has no room for a token beside [CLS] and [SEP]",
        max_length);
  TokenizedSplit pieces;
  pieces.max_length = max_length;
  for (i64 i = 0; i < split.size(); ++i) {
    const i64 cls = split.offsets[i], sep = split.offsets[i + 1] - 1;
    i64 next = cls + 1;
    do {
      pieces.tokens.push_back(split.tokens[cls]);
      for (const i64 end = std::min(sep, next + max_length - 2); next < end; ++next)
        pieces.tokens.push_back(split.tokens[next]);
      pieces.tokens.push_back(split.tokens[sep]);
      pieces.offsets.push_back(static_cast<i64>(pieces.tokens.size()));
      pieces.labels.push_back(split.labels[i]);
    } while (next < sep);
  }
  return pieces;
}

std::vector<std::vector<i64>> epoch_batches(const TokenizedSplit& split, BatchSize size, u64 seed,
                                            i64 epoch) {
  std::vector<i64> order = in_order(split);
  RandomSequence(seed, fmt::format("epoch/{}", epoch)).shuffle(order);
  return cut(split, order, size);
}

std::vector<std::vector<i64>> batches_in_order(const TokenizedSplit& split, BatchSize size) {
  return cut(split, in_order(split), size);
}

Batch make_batch(const TokenizedSplit& split, const std::vector<i64>& indices) {
  const i64 texts = std::ssize(indices);
  i64 total = 0;
  for (const i64 i : indices) {
    check(i >= 0 && i < split.size(), "batch: there is no text {}; the data have {}", i,
          split.size());
    total += split.length(i);
  }
  Batch batch{.tokens = Tensor::empty({total}, DType::i64),
              .positions = Tensor::empty({total}, DType::i64),
              .offsets = Tensor::empty({texts + 1}, DType::i64),
              .example_id = Tensor::from(indices),
              .labels = Tensor::empty({texts}, DType::i64)};
  const bool pairs = !split.second.empty();
  if (pairs) batch.token_types = Tensor::zeros({total}, DType::i64);
  i64 *tokens = batch.tokens.data<i64>(), *positions = batch.positions.data<i64>(),
      *offsets = batch.offsets.data<i64>(), *labels = batch.labels.data<i64>(),
      *types = pairs ? batch.token_types.data<i64>() : nullptr;
  i64 at = 0;
  for (i64 b = 0; b < texts; ++b) {
    const i64 i = indices[b], length = split.length(i);
    offsets[b] = at;
    labels[b] = split.labels[i];
    for (i64 j = 0; j < length; ++j) tokens[at + j] = split.tokens[split.offsets[i] + j];
    std::iota(positions + at, positions + at + length, 0);
    if (pairs) std::fill(types + at + split.second[i], types + at + length, 1);
    at += length;
  }
  offsets[texts] = at;
  return batch;
}

}  // namespace minima

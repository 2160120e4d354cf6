/// What a masked language model learns from: texts in which some tokens are hidden (Devlin, Chang,
/// Lee, Toutanova 2018, arXiv:1810.04805, §3.1, task 1).
///
/// Each token is chosen with probability `rate`; of those chosen 80 % become [MASK], 10 % another
/// token, drawn from all ordinary ones, and 10 % stay what they are. Special tokens are never
/// chosen. By whole words, a word's pieces are chosen together, as its first piece is drawn
/// (Cui et al. 2019, arXiv:1906.08101).
///
/// A token's fate is a function of (seed, step, example id, position), so it does not depend on the
/// batch that the text came in, nor on threads; every step draws anew (Liu et al. 2019,
/// arXiv:1907.11692, §4.1). Of step, id and position the low 32 bits count.
#pragma once

#include <iterator>
#include <vector>

#include "core/batch.hpp"
#include "data/vocabulary.hpp"

namespace minima {

struct MaskingOptions {
  double rate = 0.15;
  bool whole_words = false;
  u64 seed = 1;
};

class Masking {
 public:
  /// Throws Error for a rate outside of 0 … 1, for a vocabulary without [MASK] or of special tokens
  /// alone, and for whole words of one that does not mark what continues a word.
  Masking(const Vocabulary& vocabulary, const MaskingOptions& options);

  /// Whether a token may be hidden: any but a special one. Throws Error for one that the vocabulary does not have.
  bool may_hide(i64 token) const {
    const i64 size = std::ssize(is_special_);
    check(0 <= token && token < size,
          "masking: token {} of a vocabulary of {}; was it tokenized with another?", token, size);
    return !is_special_[static_cast<std::size_t>(token)];
  }

  /// The same texts, their chosen tokens replaced; the labels are what stood there. `batch` itself stays as it is. A text
  /// of a few tokens may have none chosen, unless it is `in_every_text`: then the rate is as high there as its first
  /// choice takes.
  Batch operator()(const Batch& batch, i64 step, bool in_every_text = false) const;

 private:
  MaskingOptions options_;
  i64 mask_;
  std::vector<i64> ordinary_;     ///< all ids but the special ones
  std::vector<bool> is_special_;  ///< by id
  std::vector<bool> continues_;   ///< by id: a "##" piece
};

/// Word dropout: each ordinary token becomes [MASK] with probability `rate`, the same way, so that a
/// classifier does not lean on single words (Iyyer et al. 2015, ACL, §3: there dropped altogether).
Batch drop_words(const Batch& batch, const Vocabulary& vocabulary, double rate, u64 seed, i64 step);

}  // namespace minima

/// A WordPiece vocabulary made from texts.
///
/// It begins with the special tokens (ids 0 … 4), the alphabet (each character as the start of a
/// word), and the alphabet's "##" forms that occur inside words. Then pieces are merged as in
/// byte-pair encoding (Sennrich, Haddow, Birch 2016, arXiv:1508.07909, Algorithm 1): the most
/// frequent pair of neighbours within words becomes a piece, until the vocabulary is full. Of pairs
/// that are equally frequent, the one whose left piece has the smaller id goes first, then the one
/// whose right piece has. So the result depends on the texts and options alone, not on the order of
/// the texts.
#pragma once

#include <string_view>
#include <vector>

#include "data/vocabulary.hpp"
#include "data/word_scanner.hpp"

namespace minima {

struct VocabularyOptions {
  i64 size = 8000;        ///< entries at most; fewer when no pair is left
  i64 min_frequency = 2;  ///< a rarer pair is not merged
  i64 alphabet = 1000;    ///< characters at most, the most frequent; a word with others is skipped
  Casing casing = Casing::uncased;
};

/// Throws Error when `size` does not hold the special tokens and the alphabet, when the texts hold no word, and for a
/// negative alphabet.
Vocabulary train_vocabulary(const std::vector<std::string_view>& texts,
                            const VocabularyOptions& options);

}  // namespace minima

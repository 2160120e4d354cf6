/// Text → words, as BERT's basic tokenizer does it (Devlin et al. 2018, arXiv:1810.04805; the
/// behaviour is that of the `BertTokenizerFast` class):
///
///   1. added tokens ([MASK] …) are cut out of the raw text, exactly as written;
///   2. control characters are dropped, every kind of white space becomes a space;
///   3. each CJK ideograph becomes a word of its own;
///   4. uncased: canonical decomposition (NFD), nonspacing marks dropped, each character lowered;
///   5. added tokens that are looked for in normalized text are cut out of that;
///   6. words end at spaces; each punctuation character, ASCII symbols included, is a word.
///
/// Each of the steps 2 to 4 may be left out (Normalization). Bytes that are not UTF-8 count as
/// U+FFFD, which step 2 drops.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.hpp"
#include "data/added_tokens.hpp"

namespace minima {

enum class Casing { uncased, cased };

/// What is done to a text before it is split; the names are those of `BertNormalizer`.
struct Normalization {
  bool clean_text = true;            ///< step 2
  bool handle_chinese_chars = true;  ///< step 3
  bool strip_accents = true;         ///< step 4: decomposition and marks
  bool lowercase = true;             ///< step 4: lowering

  Normalization() = default;
  Normalization(Casing casing)
      : strip_accents(casing == Casing::uncased), lowercase(casing == Casing::uncased) {}
  bool operator==(const Normalization&) const = default;
};

/// [begin, end) in code points of the original text.
struct Span {
  i32 begin = 0, end = 0;
  bool operator==(const Span&) const = default;
};

/// A longer word, counted in characters after normalization, is unknown as a whole; and the most
/// that may be asked for.
constexpr i32 kMaxWordCharacters = 100, kMostWordCharacters = 256;

struct Word {
  std::string_view bytes{};  ///< normalized; empty for an added token. Valid until the next word
  i32 added = -1;            ///< id of the added token
  bool too_long = false;     ///< of more than `max_word_characters`
  Span whole;

  /// Where characters first … last of the normalized word stand in the text.
  Span characters(i32 first, i32 last) const {
    return spans ? Span{spans[first].begin, spans[last].end}
                 : Span{whole.begin + first, whole.begin + last + 1};
  }
  const Span* spans = nullptr;  ///< per character; null when they follow one another from the start
};

/// A text after the steps 2 to 4.
std::string normalized(std::string_view text, const Normalization& normalization);

/// Walks over the words of one text:
///
///     WordScanner words(text, Casing::uncased);
///     while (words.next()) use(words.word());
///
/// What is given must outlive it. Words of ASCII letters, digits and punctuation are recognized in
/// one pass; a stretch between ASCII spaces and punctuation that holds anything else, or is too long,
/// takes the full path (no rule reaches across these), and so does all of a text where
/// `normalized_added` holds tokens.
class WordScanner {
 public:
  explicit WordScanner(std::string_view text, Normalization normalization = {},
                       const AddedTokens* added = nullptr,
                       i32 max_word_characters = kMaxWordCharacters,
                       const AddedTokens* normalized_added = nullptr);

  /// Moves to the next word; false at the end.
  bool next();
  const Word& word() const { return word_; }

 private:
  friend std::string normalized(std::string_view, const Normalization&);
  struct Character {
    char32_t value;
    Span span;
    bool added;  // by a decomposition: not the first character of it
  };
  struct Place {  // in the normalized stretch
    std::size_t byte, character;
  };
  struct Found {
    Place begin, end;
    i32 added = -1;
  };

  void seek_added_token();
  bool take_added_token();
  void scan_stretch(std::size_t begin, bool all);
  void clean(char32_t point, Span span);
  void decompose(char32_t point, Span span);
  void reorder_marks();
  void sort_run(std::size_t begin, std::size_t end);
  void split();
  void cut_added_tokens();
  void take_found();

  std::string_view text_;
  const Normalization normalization_;
  const AddedTokens *added_, *normalized_added_;
  const std::size_t max_word_characters_;
  const u8* properties_;
  AddedTokens::Match next_added_;
  std::size_t limit_;        // where it begins, or the text ends
  std::size_t at_ = 0;       // byte position
  std::size_t surplus_ = 0;  // bytes before it beyond one for each code point
  Word word_;
  std::array<char, kMostWordCharacters> ascii_;  // the word where it is ASCII

  // The stretch that took the full path, and its words not yet handed out.
  std::vector<Character> characters_;
  std::u32string parts_;
  std::string normalized_;
  std::vector<Span> spans_;  // of each character of normalized_
  std::vector<Found> found_;
  std::size_t next_found_ = 0;
};

}  // namespace minima

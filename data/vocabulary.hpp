/// Vocabulary: the pieces of WordPiece (Wu et al. 2016, arXiv:1609.08144, §4.1) and their ids.
///
/// A piece that continues a word is written with "##", the continuing prefix, before it. The file,
/// vocab.txt, holds one piece per line; the id is the line's number, from 0.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace minima {

/// How a vocabulary names its special tokens and marks the pieces that continue a word. It may have
/// no `mask`: only masking needs it (masking.hpp).
struct VocabularyNames {
  std::string pad = "[PAD]", unk = "[UNK]", cls = "[CLS]", sep = "[SEP]", mask = "[MASK]";
  std::string continues = "##";
};

class Vocabulary {
 public:
  /// The five special tokens by the names of BERT.
  static constexpr std::string_view kSpecialTokens[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]",
                                                        "[MASK]"};
  struct SpecialIds {
    i32 pad, unk, cls, sep;
    i32 mask;  ///< −1: there is none
  };

  /// `tokens[id]` for every id; `source` names them in messages. Throws Error for an empty or a
  /// repeated token, one that is not UTF-8, or when a special token other than the mask is missing.
  explicit Vocabulary(std::vector<std::string> tokens, const std::string& source = "vocabulary",
                      VocabularyNames names = {});
  /// The same with tokens behind the first `pieces` that no word is cut into: added ones.
  Vocabulary(std::vector<std::string> tokens, const std::string& source, VocabularyNames names,
             i64 pieces);

  /// Reads and writes vocab.txt, which holds the pieces. Throws Error when the file cannot be read, or,
  /// naming the line, breaks a rule above, is empty there, has a blank at a token's end, or begins with a
  /// byte order mark. (BertTokenizer takes such lines for tokens, and of two equal ones the later id.)
  static Vocabulary read(const std::filesystem::path& path);
  /// The same for the text of such a file; `source` names it in messages.
  static Vocabulary parse(std::string_view text, const std::string& source);
  /// Its tokens, by id; the same Errors, but that special tokens may be missing.
  static std::vector<std::string> tokens_in(std::string_view text, const std::string& source);
  void write(const std::filesystem::path& path) const;

  i64 size() const { return static_cast<i64>(tokens_.size()); }
  i64 pieces() const { return pieces_; }
  const std::vector<std::string>& tokens() const { return tokens_; }
  /// The text of an id. Throws Error when there is none such.
  const std::string& token(i64 id) const;
  /// The id of a token, or −1.
  i32 find(std::string_view token) const;
  const SpecialIds& special() const { return special_; }
  const VocabularyNames& names() const { return names_; }

  struct Match {
    i32 id;             ///< −1 when not even one character matches
    std::size_t bytes;  ///< how much of the word it covers
  };
  /// The longest piece that begins `word`; `continues` looks among those that continue a word.
  Match longest_match(std::string_view word, bool continues) const;

 private:
  struct Slot {
    u32 tag;
    i32 id = -1;
  };
  i32 look_up(u64 hash, std::string_view prefix, std::string_view rest) const;

  std::vector<std::string> tokens_;
  std::vector<Slot> slots_;  // open addressing, a power of two of them
  u32 longest_ = 0;          // bytes of the longest piece
  i32 pieces_;
  VocabularyNames names_;
  u64 continues_hash_;
  SpecialIds special_{};
};

}  // namespace minima

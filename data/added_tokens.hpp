/// AddedTokens: what is cut out of a text whole: [MASK] and its like, even inside a word. The
/// leftmost match counts; of several at one place the longest.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace minima {

/// A token beside the pieces. Most are looked for in the raw text, exactly as written; a
/// `normalized` one, itself normalized, in what normalization makes of the text.
struct AddedToken {
  AddedToken(std::string text, bool normalized = false)
      : text(std::move(text)), normalized(normalized) {}
  AddedToken(const char* text) : text(text) {}
  bool operator==(const AddedToken&) const = default;
  std::string text;
  bool normalized = false;
};

class AddedTokens {
 public:
  struct Token {
    std::string text;
    i32 id;
  };
  /// `text` must not be empty.
  void add(std::string text, i32 id);
  bool empty() const { return tokens_.empty(); }

  struct Match {
    std::size_t at = std::string_view::npos;  ///< npos: none
    const Token* token = nullptr;
  };
  /// The first match in `text` that begins at byte `from` or behind it.
  Match find(std::string_view text, std::size_t from) const;

 private:
  std::vector<Token> tokens_;  // longer ones first
  std::array<bool, 256> begins_{};
  char only_ = 0;  // the byte that all begin with, or 0
};

}  // namespace minima

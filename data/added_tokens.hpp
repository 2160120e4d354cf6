/// AddedTokens: what is cut out of the raw text before it is normalized, exactly as written and even
/// inside a word: [MASK] and its like. The leftmost match counts; of several at one place the
/// longest.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace minima {

class AddedTokens {
 public:
  struct Token {
    std::string text;
    i32 id;
  };
  /// `text` must not be empty.
  void add(std::string text, i32 id);
  const std::vector<Token>& tokens() const { return tokens_; }

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

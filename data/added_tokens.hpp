/// AddedTokens: what is cut out of a text whole: [MASK] and its like, even inside a word. The
/// leftmost match counts; of several at one place the longest.
#pragma once

#include <array>
#include <map>
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
  AddedTokens() = default;
  /// Tokens by their texts, none of them empty.
  explicit AddedTokens(const std::map<std::string, i32>& ids);
  bool empty() const { return tokens_.size() <= 1; }

  struct Match {
    std::size_t at = std::string_view::npos;  ///< npos: none
    std::string_view text{};
    i32 id = -1;
  };
  /// The first match in `text` that begins at byte `from` or behind it. Each place that has the first byte of a token is
  /// looked up once, however many tokens there are and of whatever lengths.
  Match find(std::string_view text, std::size_t from) const;

 private:
  struct Entry {
    std::string text;
    i32 id;
    i64 shorter;  ///< the longest other one that it begins with
    i64 jump;     ///< one of those before it: the next, or far off, so that few steps lead to any
    i64 before;   ///< how many those are
  };
  const Entry& entry(i64 index) const { return tokens_[static_cast<std::size_t>(index)]; }
  std::vector<Entry> tokens_;       // by text; in front an empty one, with which all begin
  std::array<bool, 256> begins_{};  // whether a token has this byte in front
  char only_ = 0;                   // the byte that all begin with, or 0
};

}  // namespace minima

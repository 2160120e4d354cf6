/// AddedTokens: what is cut out of a text whole: [MASK] and its like, even inside a word. The
/// leftmost match counts; of several at one place the longest.
#pragma once

#include <array>
#include <functional>
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
  /// `text` must not be empty. Of several tokens with one text, as normalization may make them, the first counts (Hugging
  /// Face's library takes any).
  void add(const std::string& text, i32 id);
  bool empty() const { return ids_.empty(); }

  struct Match {
    std::size_t at = std::string_view::npos;  ///< npos: none
    std::string_view text{};
    i32 id = -1;
  };
  /// The first match in `text` that begins at byte `from` or behind it. Each place is looked up once for every length
  /// that tokens with its byte in front have, however many they are.
  Match find(std::string_view text, std::size_t from) const;

 private:
  std::map<std::string, i32, std::less<>> ids_;
  std::array<std::vector<std::size_t>, 256> lengths_;  // by the first byte, longer ones first
  char only_ = 0;                                      // the byte that all begin with, or 0
};

}  // namespace minima

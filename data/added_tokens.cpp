#include "data/added_tokens.hpp"

#include <algorithm>

namespace minima {

void AddedTokens::add(std::string text, i32 id) {
  only_ = tokens_.empty() || only_ == text.front() ? text.front() : 0;
  begins_[static_cast<u8>(text.front())] = true;
  const auto behind = std::ranges::find_if(
      tokens_, [&](const Token& token) { return token.text.size() < text.size(); });
  tokens_.insert(behind, {std::move(text), id});
}

AddedTokens::Match AddedTokens::find(std::string_view text, std::size_t from) const {
  for (std::size_t at = from; !tokens_.empty() && at < text.size(); ++at) {
    if (only_ != 0) {
      at = text.find(only_, at);
      if (at == text.npos) break;
    } else if (!begins_[static_cast<u8>(text[at])]) {
      continue;
    }
    for (const Token& token : tokens_)
      if (text.substr(at).starts_with(token.text)) return {at, &token};
  }
  return {};
}

}  // namespace minima

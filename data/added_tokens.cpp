#include "data/added_tokens.hpp"

#include <algorithm>

namespace minima {

void AddedTokens::add(const std::string& text, i32 id) {
  only_ = ids_.empty() || only_ == text.front() ? text.front() : 0;
  ids_.try_emplace(text, id);
  std::vector<std::size_t>& lengths = lengths_[static_cast<u8>(text.front())];
  const auto behind = std::ranges::lower_bound(lengths, text.size(), std::greater());
  if (behind == lengths.end() || *behind != text.size()) lengths.insert(behind, text.size());
}

AddedTokens::Match AddedTokens::find(std::string_view text, std::size_t from) const {
  for (std::size_t at = from; !ids_.empty() && at < text.size(); ++at) {
    if (only_ != 0) {
      at = text.find(only_, at);
      if (at == text.npos) break;
    }
    for (const std::size_t length : lengths_[static_cast<u8>(text[at])])
      if (const auto found = ids_.find(text.substr(at, length)); found != ids_.end())
        return {at, found->first, found->second};
  }
  return {};
}

}  // namespace minima

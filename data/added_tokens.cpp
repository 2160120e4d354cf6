#include "data/added_tokens.hpp"

#include <algorithm>

namespace minima {

AddedTokens::AddedTokens(const std::map<std::string, i32>& ids) {
  for (const auto& [text, id] : ids) {
    only_ = tokens_.empty() || only_ == text.front() ? text.front() : 0;
    begins_[static_cast<u8>(text.front())] = true;
    i64 shorter = std::ssize(tokens_) - 1;
    while (shorter >= 0 && !text.starts_with(entry(shorter).text)) shorter = entry(shorter).shorter;
    tokens_.push_back({text, id, shorter});
  }
}

AddedTokens::Match AddedTokens::find(std::string_view text, std::size_t from) const {
  for (std::size_t at = from; !tokens_.empty() && at < text.size(); ++at) {
    if (only_ != 0) {
      at = text.find(only_, at);
      if (at == text.npos) break;
    } else if (!begins_[static_cast<u8>(text[at])]) {
      continue;
    }
    const std::string_view rest = text.substr(at);
    const auto behind = std::ranges::upper_bound(
        tokens_, rest, {}, [](const Entry& token) -> std::string_view { return token.text; });
    // Those that `rest` begins with stand before it, and the nearest before it begins with each of them.
    i64 found = behind - tokens_.begin() - 1;
    if (found < 0) continue;
    const std::string& nearest = entry(found).text;
    const auto common = std::ranges::mismatch(nearest, rest).in1 - nearest.begin();
    while (found >= 0 && std::ssize(entry(found).text) > common) found = entry(found).shorter;
    if (found >= 0) return {at, entry(found).text, entry(found).id};
  }
  return {};
}

}  // namespace minima

#include "data/added_tokens.hpp"

#include <algorithm>

namespace minima {

AddedTokens::AddedTokens(const std::map<std::string, i32>& ids) {
  tokens_.push_back({"", -1, 0, 0, 0});
  for (const auto& [text, id] : ids) {
    only_ = empty() || only_ == text.front() ? text.front() : 0;
    begins_[static_cast<u8>(text.front())] = true;
    i64 shorter = std::ssize(tokens_) - 1;
    while (!text.starts_with(entry(shorter).text)) shorter = entry(shorter).shorter;
    // Two jumps of one length make one of both (Myers 1983, "An applicative random-access stack").
    const i64 jump = entry(shorter).jump, next = entry(jump).jump;
    const bool equal =
        entry(shorter).before - entry(jump).before == entry(jump).before - entry(next).before;
    tokens_.push_back({text, id, shorter, equal ? next : shorter, entry(shorter).before + 1});
  }
}

AddedTokens::Match AddedTokens::find(std::string_view text, std::size_t from) const {
  for (std::size_t at = from; !empty() && at < text.size(); ++at) {
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
    const std::string& nearest = entry(found).text;
    const auto common = std::ranges::mismatch(nearest, rest).in1 - nearest.begin();
    const auto fits = [&](i64 index) { return std::ssize(entry(index).text) <= common; };
    while (!fits(found)) found = fits(entry(found).jump) ? entry(found).shorter : entry(found).jump;
    if (found > 0) return {at, entry(found).text, entry(found).id};
  }
  return {};
}

}  // namespace minima

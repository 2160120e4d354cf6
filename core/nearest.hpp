/// What somebody may have meant by a word that is unknown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace minima {

/// The candidate with the fewest edits (insert, delete, replace) from `word`; empty where there is none.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace minima

/// What somebody may have meant by a word that is unknown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace minima {

/// The candidate with the fewest edits (insert, delete, replace) from `word`, whatever the case of ASCII letters; empty
/// where there is none.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "; did you mean 'adamw'?", or "." where the nearest candidate is far: some third of the letters are others.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace minima

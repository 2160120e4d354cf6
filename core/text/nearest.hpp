/// What somebody may have meant by a word that is unknown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace minima {

/// The candidate with the fewest edits from `word` (a letter more, less or another, two neighbours swapped), whatever
/// the case of ASCII letters; empty where there is none.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// The same; empty also where the nearest candidate is far: more edits than one and than a third of its or the word's
/// letters, or as many as the word has.
std::string meant_by(std::string_view word, const std::vector<std::string>& candidates);

/// "; did you mean 'adamw'?", or "." where nothing may have been meant.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace minima

/// JSON with the keys of objects sorted, for objects of very many keys: Json (json.hpp) keeps them in
/// their order, and searches all of them for each.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace minima {

using SortedJson = nlohmann::json;

/// As parse_json.
SortedJson parse_sorted_json(std::string_view text, std::string_view source);

}  // namespace minima

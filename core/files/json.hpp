/// JSON through nlohmann's library, with what it leaves open: duplicate keys are an error, a message names the file, and
/// a number is what its reader can take.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/files/json_fwd.hpp"
#include "core/text/utf8.hpp"
#include "core/types.hpp"

namespace minima {

/// Parses `text`. Throws Error, naming `source`, for invalid JSON, invalid UTF-8, a duplicate key,
/// or nesting deeper than 256 (the parser recurses).
Json parse_json(std::string_view text, std::string_view source);

/// The JSON in a file.
Json read_json(const std::filesystem::path& path);

/// What an object has under a key: a number (NaN where it is null, as NaN is written), or a count, a whole number from 0
/// to 2⁴⁰. Throws Error or Json::exception where that is missing or something else.
double number_at(const Json& object, const char* key);
i64 count_at(const Json& object, const char* key);

}  // namespace minima

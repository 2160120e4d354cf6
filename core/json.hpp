/// JSON through nlohmann's library, with the two things that it leaves open: duplicate keys are an
/// error, and a message names the file.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/json_fwd.hpp"

namespace minima {

/// Parses `text`. Throws Error, naming `source`, for invalid JSON, invalid UTF-8, a duplicate key,
/// or nesting deeper than 256 (the parser recurses).
Json parse_json(std::string_view text, std::string_view source);

/// A text for a message: one line, its control characters as JSON escapes them. What is not UTF-8,
/// such as a character that was cut in two, becomes U+FFFD.
std::string shown(const std::string& text);

/// The JSON in a file.
Json read_json(const std::filesystem::path& path);

}  // namespace minima

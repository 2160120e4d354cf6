/// JSON through nlohmann's library, with the two things that it leaves open: duplicate keys are an
/// error, and a message names the file.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/json_fwd.hpp"
#include "core/utf8.hpp"

namespace minima {

/// Parses `text`. Throws Error, naming `source`, for invalid JSON, invalid UTF-8, a duplicate key,
/// or nesting deeper than 256 (the parser recurses).
Json parse_json(std::string_view text, std::string_view source);

/// The JSON in a file.
Json read_json(const std::filesystem::path& path);

}  // namespace minima

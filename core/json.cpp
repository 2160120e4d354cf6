#include "core/json.hpp"

#include <set>

#include "core/error.hpp"
#include "core/file.hpp"

namespace minima {

Json parse_json(std::string_view text, std::string_view source) {
  std::vector<std::set<std::string>> keys;  // of each object that is open
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    check(depth <= 256, "{}: JSON nested deeper than 256", source);
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key)
      check(keys.back().insert(value.get<std::string>()).second, "{}: the key '{}' occurs twice",
            source, value.get<std::string>());
    return true;
  };
  // The library takes a NUL for the end of the text, and what follows for nothing.
  check(text.find('\0') == text.npos, "{}: not valid JSON: a NUL at byte {}", source,
        text.find('\0'));
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    fail("{}: not valid JSON: {}", source, error.what());
  }
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path), path.string());
}

}  // namespace minima

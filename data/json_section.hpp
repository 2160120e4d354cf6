/// Section: an object of a JSON file, its values of the types that are expected.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>

#include "core/error.hpp"
#include "core/files/sorted_json.hpp"
#include "core/text/utf8.hpp"
#include "core/types.hpp"

namespace minima {

/// Throws Error, beginning with `place`, for what is not as it should be. A null counts as a key that
/// is not there.
class Section {
 public:
  Section(const SortedJson& json, std::string place) : json_(json), place_(std::move(place)) {
    check(json.is_object(), "{} is of type {}, not an object", place_, json.type_name());
  }
  /// One that may have these keys only.
  Section(const SortedJson& json, std::string place, std::initializer_list<const char*> keys)
      : Section(json, std::move(place)) {
    for (const auto& [key, value] : json.items())
      check(std::ranges::find(keys, key) != keys.end(), "{} has '{}', which is not supported",
            place_, shown(key));
  }

  const std::string& place() const { return place_; }
  bool has(const char* key) const {
    const auto found = json_.find(key);
    return found != json_.end() && !found->is_null();
  }
  const SortedJson& at(const char* key) const {
    check(has(key), "{} has no '{}'", place_, key);
    return json_[key];
  }
  std::string text(const char* key) const {
    check(at(key).is_string(), "{}: '{}' is of type {}, not a string", place_, key,
          at(key).type_name());
    return at(key).get<std::string>();
  }
  bool flag(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    check(at(key).is_boolean(), "{}: '{}' is of type {}, not true or false", place_, key,
          at(key).type_name());
    return at(key).get<bool>();
  }
  /// A whole number from `least` to `most`.
  i64 number(const char* key, i64 least, i64 most) const {
    const SortedJson& value = at(key);
    const bool fits = value.is_number_integer() && value >= least && value <= most;
    check(fits, "{}: '{}' is {}; it must be a whole number from {} to {}", place_, key,
          shown(value.dump()), least, most);
    return value.get<i64>();
  }
  /// Refuses every type but this one.
  void require_type(const char* type) const {
    check(text("type") == type, "{} is of type '{}'; only {} is supported", place_,
          shown(text("type")), type);
  }

 private:
  const SortedJson& json_;
  std::string place_;
};

}  // namespace minima

#include "core/files/json.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "core/error.hpp"
#include "core/files/file.hpp"
#include "core/files/sorted_json.hpp"

namespace minima {
namespace {

/// Makes a value of what the parser finds, and refuses what that takes. (The library's own maker searches all keys of a
/// Json for each.)
template <class AnyJson>
class Maker : public nlohmann::json_sax<AnyJson> {
 public:
  Maker(std::string_view text, std::string_view source) : text_(text), source_(source) {}

  AnyJson made;

  bool null() override { return put({}); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(i64 value) override { return put(value); }
  bool number_unsigned(u64 value) override { return put(value); }
  bool number_float(double value, const std::string&) override { return put(value); }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(typename AnyJson::binary_t& value) override { return put(std::move(value)); }
  bool start_object(std::size_t) override { return open(AnyJson::object()); }
  bool start_array(std::size_t) override { return open(AnyJson::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    if (!open_.back().keys.insert(name).second)
      fail("{}: the key '{}' occurs twice", source_, shown(name));
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&,
                   const typename AnyJson::exception& error) override {
    if (!dynamic_cast<const typename AnyJson::parse_error*>(&error)) {  // a number too large
      constexpr std::size_t kMost = 300;                                // it quotes the number
      const std::string_view what = error.what();
      fail("{}: not valid JSON: {}", source_, shown(what.substr(what.find("] ") + 2), kMost));
    }
    // `byte` counts what was read until it made no sense; beyond the end it is one more.
    check(byte <= text_.size(), "{}: not valid JSON: it ends too early", source_);
    const std::string_view read = text_.substr(0, byte);
    const std::string_view line = read.substr(read.rfind('\n') + 1);  // npos + 1 is 0
    constexpr std::size_t kMost = 40;
    // What is wrong within a string is hard to see: "invalid string: surrogate … must follow …; last read: …".
    constexpr std::string_view kInString = "invalid string: ";
    std::string_view why = error.what();
    why = why.substr(0, why.find("; last read"));
    why = why.substr(std::min(why.size(), why.find(kInString)));
    fail("{}: not valid JSON: line {}, column {}, after '{}'{}", source_,
         1 + std::ranges::count(read, '\n'), line.size(),
         shown(line.substr(line.size() - std::min(line.size(), kMost))),
         why.empty() ? "" : fmt::format(": {}", why.substr(kInString.size())));
  }

 private:
  /// An object or array whose end has not come.
  struct Open {
    AnyJson* json;
    std::set<std::string> keys;
  };

  /// Puts a value where the text stands, and returns its place.
  AnyJson* place(AnyJson value) {
    if (open_.empty()) return &(made = std::move(value));
    AnyJson& in = *open_.back().json;
    if (in.is_array()) {
      in.push_back(std::move(value));
      return &in.back();
    }
    auto& object = in.template get_ref<typename AnyJson::object_t&>();
    if constexpr (std::is_same_v<AnyJson, Json>)
      return &object.emplace_back(std::move(key_), std::move(value)).second;
    else
      return &object.emplace(std::move(key_), std::move(value)).first->second;
  }
  bool put(AnyJson value) { return place(std::move(value)) != nullptr; }
  bool open(AnyJson value) {
    check(open_.size() < 256, "{}: JSON nested deeper than 256", source_);
    open_.push_back({place(std::move(value)), {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_, source_;
  std::vector<Open> open_;
  std::string key_;  ///< of the value that comes next
};

template <class AnyJson>
AnyJson parse(std::string_view text, std::string_view source) {
  // The library takes a NUL for the end of the text, and what follows for nothing.
  check(text.find('\0') == text.npos, "{}: not valid JSON: a NUL at byte {}", source,
        text.find('\0'));
  Maker<AnyJson> maker(text, source);
  AnyJson::sax_parse(text, &maker);
  return std::move(maker.made);
}

}  // namespace

Json parse_json(std::string_view text, std::string_view source) {
  return parse<Json>(text, source);
}

SortedJson parse_sorted_json(std::string_view text, std::string_view source) {
  return parse<SortedJson>(text, source);
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path), path.string());
}

double number_at(const Json& object, const char* key) {
  const Json& value = object.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

i64 count_at(const Json& object, const char* key) {
  constexpr i64 kMost = i64{1} << 40;
  const Json& value = object.at(key);
  check(value.is_number_integer() && value >= 0 && value <= kMost,
        "'{}' is {}; it must be a whole number from 0 to {}", key, shown(value.dump()), kMost);
  return value.get<i64>();
}

}  // namespace minima

#include "core/json.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "core/error.hpp"
#include "core/file.hpp"
#include "core/sorted_json.hpp"

namespace minima {
namespace {

/// Refuses what the library's parser takes. (Called back by that, one would see the same; but then it looks through all of
/// an object whenever one within has ended.)
struct Rules : nlohmann::json_sax<SortedJson> {
  explicit Rules(std::string_view source) : source_(source) {}

  bool start_object(std::size_t) override { return open(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    if (!keys_.back().insert(name).second)
      fail("{}: the key '{}' occurs twice", source_, shown(name));
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(i64) override { return true; }
  bool number_unsigned(u64) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(SortedJson::binary_t&) override { return true; }
  bool parse_error(std::size_t, const std::string&, const SortedJson::exception&) override {
    return false;  // the parser will say it
  }

 private:
  bool open() {
    check(keys_.size() < 256, "{}: JSON nested deeper than 256", source_);
    keys_.emplace_back();
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }

  std::string_view source_;
  std::vector<std::set<std::string>> keys_;  ///< of each object or array that is open
};

template <class AnyJson>
AnyJson parse(std::string_view text, std::string_view source) {
  // The library takes a NUL for the end of the text, and what follows for nothing.
  check(text.find('\0') == text.npos, "{}: not valid JSON: a NUL at byte {}", source,
        text.find('\0'));
  try {
    Rules rules(source);
    SortedJson::sax_parse(text, &rules);
    return AnyJson::parse(text);
  } catch (const typename AnyJson::parse_error& error) {
    // `byte` counts what was read until it made no sense; beyond the end it is one more.
    check(error.byte <= text.size(), "{}: not valid JSON: it ends too early", source);
    const std::string_view read = text.substr(0, error.byte);
    const std::string_view line = read.substr(read.rfind('\n') + 1);  // npos + 1 is 0
    constexpr std::size_t kMost = 40;
    fail("{}: not valid JSON: line {}, column {}, after '{}'", source,
         1 + std::ranges::count(read, '\n'), line.size(),
         shown(line.substr(line.size() - std::min(line.size(), kMost))));
  } catch (const typename AnyJson::exception& error) {  // a number too large
    constexpr std::size_t kMost = 300;                  // it quotes the number
    const std::string_view what = error.what();
    fail("{}: not valid JSON: {}", source, shown(what.substr(what.find("] ") + 2), kMost));
  }
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

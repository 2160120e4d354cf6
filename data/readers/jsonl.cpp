#include "data/readers/jsonl.hpp"

#include <cmath>
#include <optional>
#include <utility>

#include "core/files/json.hpp"
#include "core/text/split.hpp"
#include "core/text/utf8.hpp"

namespace minima {
namespace {

/// The whole number that a value such as 1.0 is: pandas writes them so where a column has gaps.
std::optional<i64> whole(const Json& value) {
  constexpr double kMost = 9007199254740992;  // 2^53, up to which a double has every whole number
  const double number = value.is_number_float() ? value.get<double>() : NAN;
  if (!(std::abs(number) <= kMost) || number != std::trunc(number)) return std::nullopt;
  return static_cast<i64>(number);
}

/// One line, with what its messages say of where it stands.
struct Line {
  const Lines& lines;
  const Json& object;

  const Json& at(const std::string& key) const {
    const auto found = object.find(key);
    if (found == object.end()) {
      std::vector<std::string> keys;
      for (const auto& [other, value] : object.items())
        keys.push_back(fmt::format("'{}'", shown(other)));
      bad_row(lines.source(), lines.number(), "the object has no '{}'{}", shown(key),
              keys.empty() ? ""
                           : fmt::format("; it has {} (--label-column and --text-column name keys)",
                                         listed(keys)));
    }
    return *found;
  }
  std::string label(const std::string& key) const {
    if (key.empty()) return {};
    const Json& value = at(key);
    if (value.is_boolean() || value.is_number_integer()) return value.dump();
    if (const auto number = whole(value)) return std::to_string(*number);
    if (value.is_null())
      bad_row(lines.source(), lines.number(), "the row has no label: '{}' is null", shown(key));
    if (!value.is_string())
      bad_row(lines.source(), lines.number(), "'{}' is {}; a label is a string or a whole number",
              shown(key),
              value.is_number() ? value.dump() : fmt::format("of type {}", value.type_name()));
    std::string text = value.get<std::string>();
    if (text.empty()) bad_row(lines.source(), lines.number(), "the row has no label");
    return text;
  }
  std::string text(const std::vector<std::string>& keys) const {
    std::string result;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const Json& value = at(keys[i]);
      if (!value.is_string())
        bad_row(lines.source(), lines.number(), "'{}' is of type {}; a text is a string",
                shown(keys[i]), value.type_name());
      if (i > 0) result += ' ';
      result += value.get_ref<const std::string&>();
    }
    return result;
  }
};

/// Whether a line is the first of an object that goes over several.
bool begins_object(std::string_view line) {
  if (!line.ends_with('{') && !line.ends_with(',')) return false;
  try {
    parse_json(std::string(line) + (line.ends_with('{') ? "}" : R"("":0})"), "");
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

JsonLinesReader::JsonLinesReader(Lines lines, const ReadOptions& options)
    : RowReader(lines.source(), options),
      lines_(std::move(lines)),
      text_keys_(split(options.text_column, ',')) {
  check(!options.no_header,
        "{}: JSON Lines have no header to do without; --no-header is for tables", source_);
  if (!options.pair_column.empty()) pair_keys_ = split(options.pair_column, ',');
  check_apart(options.label_column, text_keys_, pair_keys_);
  check(!lines_.begins_with('['),
        "{}: is a JSON array, one document; write its objects a line each: {}", source_,
        kLinesOfArray);
}

bool JsonLinesReader::read(Row& row) {
  if (!lines_.next()) {
    check(lines_.number() > 0, "{}: is empty; expected a JSON object a line, with {}", source_,
          expected());
    return false;
  }
  const i64 number = lines_.number();
  constexpr std::string_view kBlanks = " \t";
  if (lines_.line().find_first_not_of(kBlanks) == std::string_view::npos) {
    if (number > 1 && lines_.at_blank_end(kBlanks)) return false;
    bad_row(source_, number, "the line is blank; each line holds a JSON object");
  }
  Json object;
  try {
    object = parse_json(lines_.line(), fmt::format("{}:{}", source_, number));
  } catch (const Error& error) {
    const auto line = lines_.line().substr(0, lines_.line().find_last_not_of(kBlanks) + 1);
    check(number > 1 || !begins_object(line),
          "{}: its objects go over several lines; write a line each: jq -c . FILE > NEW.jsonl",
          source_);
    throw BadRow(error.what());
  }
  if (!object.is_object())
    bad_row(source_, number, "the line holds {}, not a JSON object", object.type_name());
  if (std::exchange(is_first_, false)) {
    if (object.contains(options_.text_column)) text_keys_ = {options_.text_column};
    if (!pair_keys_.empty() && object.contains(options_.pair_column))
      pair_keys_ = {options_.pair_column};
  }
  const Line line{lines_, object};
  row = {line.label(options_.label_column), line.text(text_keys_), number, line.text(pair_keys_)};
  return true;
}

}  // namespace minima

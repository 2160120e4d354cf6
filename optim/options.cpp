#include "optim/options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace minima {

std::vector<std::string> option_names(const OptionValues& options) {
  std::vector<std::string> names;
  for (const auto& [name, value] : options) names.push_back(name);
  return names;
}

OptionList parse_options(const std::string& text) {
  check(!text.ends_with(':'), "options '{}' end with a colon", text);
  OptionList options;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(':', begin), text.size());
    const std::string piece = text.substr(begin, end - begin);
    const std::size_t equals = piece.find('=');
    check(equals != std::string::npos && equals > 0,
          "options '{}': '{}' is not of the form name=value", text, piece);
    std::string name = piece.substr(0, equals);
    for (const auto& [known, value] : options)
      check(known != name, "options '{}': {} is given twice", text, name);
    options.emplace_back(std::move(name), piece.substr(equals + 1));
    begin = end + 1;
  }
  return options;
}

std::pair<std::string, OptionList> parse_spec(const std::string& spec) {
  const std::size_t colon = std::min(spec.find(':'), spec.size());
  check(colon + 1 != spec.size(), "'{}' ends with a colon; options follow it, as in adamw:lr=1e-3",
        spec);
  return {spec.substr(0, colon),
          parse_options(colon < spec.size() ? spec.substr(colon + 1) : std::string())};
}

std::string to_string(const OptionList& options) {
  std::string text;
  for (const auto& [name, value] : options)
    text += fmt::format("{}{}={}", text.empty() ? "" : ":", name, value);
  return text;
}

const std::string* find_option(const OptionList& options, std::string_view name) {
  const auto found = std::ranges::find(options, name, &OptionList::value_type::first);
  return found == options.end() ? nullptr : &found->second;
}

bool has_option(const std::string& spec, std::string_view option) {
  return find_option(parse_spec(spec).second, option) != nullptr;
}

double parse_number(std::string_view owner, std::string_view name, const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  check(error == std::errc() && stop == end && std::isfinite(value),
        "{}: {} is '{}'; it must be a number, such as 0.001 or 1e-3", owner, name, text);
  return value;
}

namespace detail {

bool parse_bool(std::string_view owner, std::string_view name, const std::string& text) {
  check(text == "true" || text == "false", "{}: {} is '{}'; it must be true or false", owner, name,
        text);
  return text == "true";
}

i64 parse_choice(std::string_view owner, std::string_view name, const std::string& text,
                 std::span<const std::string_view> choices) {
  const auto found = std::ranges::find(choices, text);
  check(found != choices.end(), "{}: {} is '{}'; it must be one of: {}", owner, name, text,
        fmt::join(choices, ", "));
  return found - choices.begin();
}

}  // namespace detail

std::string to_string(const OptionValue& value) {
  return std::visit(
      []<class T>(const T& each) -> std::string {
        if constexpr (std::is_same_v<T, std::nullptr_t>)
          return "none";
        else
          return fmt::format("{}", each);
      },
      value);
}

std::string Range::words() const {
  std::string words;
  if (least > 0 && least < 1e-300)
    words = "above 0";
  else if (least > -kLargest)
    words = fmt::format("at least {}", least);
  if (most < kLargest)
    words +=
        fmt::format("{}{} {}", words.empty() ? "" : " and ", inclusive ? "at most" : "below", most);
  return words;
}

void check_range(std::string_view owner, std::string_view name, double value, const Range& range) {
  if (!range.holds(value)) fail("{}: {} is {}; it must be {}", owner, name, value, range.words());
}

void check_float(std::string_view owner, std::string_view name, double value, const Range& range) {
  using Limits = std::numeric_limits<float>;
  const double magnitude = std::abs(value);
  if (magnitude <= static_cast<double>(Limits::max())) {
    const auto used = static_cast<double>(static_cast<float>(value));
    if (range.holds(used) && (used != 0 || value == 0)) return;
    fail("{}: {} is {}; in 32 bits, as steps are computed, that is {}", owner, name, value, used);
  }
  fail("{}: {} is {}; steps are computed in 32 bits, whose largest number is {}", owner, name,
       value, Limits::max());
}

}  // namespace minima

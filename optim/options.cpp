#include "optim/options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace minima {
namespace {

/// Edits (insert, delete, replace) between two words.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const auto best = std::ranges::min_element(
      candidates, {}, [&](const std::string& candidate) { return distance(word, candidate); });
  return best == candidates.end() ? "" : *best;
}

std::vector<std::string> option_names(const OptionValues& options) {
  std::vector<std::string> names;
  for (const auto& [name, value] : options) names.push_back(name);
  return names;
}

OptionList parse_options(const std::string& text) {
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
  return {spec.substr(0, colon),
          parse_options(colon < spec.size() ? spec.substr(colon + 1) : std::string())};
}

namespace detail {

double parse_number(std::string_view owner, std::string_view name, const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  check(error == std::errc() && stop == end && std::isfinite(value),
        "{}: {} is '{}'; it must be a number, such as 0.001 or 1e-3", owner, name, text);
  return value;
}

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

void check_range(std::string_view owner, std::string_view name, double value, const Range& range) {
  if (range.holds(value)) return;
  std::string wanted;
  if (range.least > 0 && range.least < 1e-300)
    wanted = "above 0";
  else if (range.least > -kLargest)
    wanted = fmt::format("at least {}", range.least);
  if (range.most < kLargest)
    wanted += fmt::format("{}{} {}", wanted.empty() ? "" : " and ",
                          range.inclusive ? "at most" : "below", range.most);
  fail("{}: {} is {}; it must be {}", owner, name, value, wanted);
}

}  // namespace detail
}  // namespace minima

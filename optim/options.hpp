/// Options of a rule, a storage or the engine: a plain struct with one `fields()` table, from which
/// parsing, validating, printing and saving all follow.
///
///     struct Options {
///       double lr = 1e-3, beta1 = 0.9;
///       static constexpr auto fields() {
///         return std::tuple{Field{"lr", &Options::lr, nonnegative},
///                           Field{"beta1", &Options::beta1, below_one}};
///       }
///     };
///
/// A value may be a double, an i64, a bool, a string, an optional of these ("none" on the command
/// line), or an enumeration whose names, in order, `std::span<const std::string_view> choices(E)` gives.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.hpp"
#include "core/types.hpp"

namespace minima {

/// The numbers that an option may take: from `least` to `most`, the latter itself only if
/// `inclusive`.
struct Range {
  double least, most;
  bool inclusive = true;
  constexpr bool holds(double x) const { return x >= least && (inclusive ? x <= most : x < most); }
  std::string words() const;  ///< "at least 0 and below 1"; empty for any_number
};

inline constexpr double kLargest = std::numeric_limits<double>::max();
inline constexpr Range any_number{-kLargest, kLargest};
inline constexpr Range nonnegative{0, kLargest};
inline constexpr Range positive{std::numeric_limits<double>::min(), kLargest};
inline constexpr Range nonpositive{-kLargest, 0};
inline constexpr Range below_one{0, 1, false};
inline constexpr Range at_least_one{1, kLargest};

template <class Owner, class Value>
struct Field {
  std::string_view name;
  Value Owner::*member;
  Range range = any_number;
  /// A few words for `minima optimizers`; empty: the usual meaning of an option of this name.
  std::string_view meaning = "";
};
// Compilers older than GCC 11, Clang 17 do not deduce the arguments of an aggregate.
template <class Owner, class Value>
Field(std::string_view, Value Owner::*, Range = any_number, std::string_view = "")
    -> Field<Owner, Value>;

/// `key=value` pairs, in their order.
using OptionList = std::vector<std::pair<std::string, std::string>>;

/// Splits "adamw:lr=1e-3:state=block8" into its name and options. Throws Error for a piece without
/// '=' or a key that occurs twice.
std::pair<std::string, OptionList> parse_spec(const std::string& spec);
/// The same without the name: "lr=1e-3:weight_decay=0".
OptionList parse_options(const std::string& text);
/// The text that parse_options reads back.
std::string to_string(const OptionList& options);
/// The value that is given for an option; null where none is.
const std::string* find_option(const OptionList& options, std::string_view name);
/// Whether a spec gives this option.
bool has_option(const std::string& spec, std::string_view option);

/// An option's value, whatever its type; the first stands for "none".
using OptionValue = std::variant<std::nullptr_t, bool, i64, double, std::string>;
using OptionValues = std::vector<std::pair<std::string, OptionValue>>;

std::vector<std::string> option_names(const OptionValues& options);
/// As it is written on the command line: "none", "true", "0.001".
std::string to_string(const OptionValue& value);

/// An option, its value, what it takes ("a number, at least 0 and below 1; or none"), and Field::meaning.
struct OptionHelp {
  std::string name, value, takes, meaning;
};

/// Throws Error for a number out of its range.
void check_range(std::string_view owner, std::string_view name, double value, const Range& range);
/// Throws Error for a number that in 32 bits, as steps are computed, becomes 0 or leaves its range.
void check_float(std::string_view owner, std::string_view name, double value, const Range& range);

/// Throws Error, naming the owner's option, for text that is no finite number.
double parse_number(std::string_view owner, std::string_view name, const std::string& text);

namespace detail {

bool parse_bool(std::string_view owner, std::string_view name, const std::string& text);
i64 parse_choice(std::string_view owner, std::string_view name, const std::string& text,
                 std::span<const std::string_view> choices);

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class Value>
void parse_value(std::string_view owner, std::string_view name, const Range& range,
                 const std::string& text, Value& value) {
  if constexpr (is_optional<Value>) {
    value.reset();
    if (text != "none") parse_value(owner, name, range, text, value.emplace());
  } else if constexpr (std::is_same_v<Value, bool>) {
    value = parse_bool(owner, name, text);
  } else if constexpr (std::is_same_v<Value, std::string>) {
    value = text;
  } else if constexpr (std::is_enum_v<Value>) {
    value = static_cast<Value>(parse_choice(owner, name, text, choices(Value{})));
  } else {
    const double number = parse_number(owner, name, text);
    check_range(owner, name, number, range);
    static_assert(std::is_same_v<Value, double> || std::is_same_v<Value, i64>,
                  "an option is a bool, i64, double, std::string or enum, or std::optional of one");
    if constexpr (std::is_integral_v<Value>)
      check(std::trunc(number) == number && std::abs(number) <= 0x1p53,
            "{}: {} is {}; it must be a whole number", owner, name, text);
    value = static_cast<Value>(number);
  }
}

template <class Value>
OptionValue plain_value(const Value& value) {
  if constexpr (is_optional<Value>) {
    return value ? plain_value(*value) : OptionValue();
  } else if constexpr (std::is_enum_v<Value>) {
    return std::string(choices(value)[static_cast<std::size_t>(value)]);
  } else {
    return value;
  }
}

template <class Value>
std::string taken_by(const Value& value, const Range& range) {
  if constexpr (is_optional<Value>) {
    return taken_by(typename Value::value_type{}, range) + "; or none";
  } else if constexpr (std::is_enum_v<Value>) {
    return fmt::format("{}", fmt::join(choices(value), ", "));
  } else if constexpr (std::is_same_v<Value, bool>) {
    return "true, false";
  } else if constexpr (std::is_same_v<Value, std::string>) {
    return "parts of names, separated by |";
  } else {
    const bool bounded = range.most < 0x1p53;  // beyond, hardly any number is meant
    const std::string words = Range{range.least, bounded ? range.most : kLargest, range.inclusive}
                                  .words(),
                      kind = std::is_integral_v<Value> ? "a whole number" : "a number";
    return words.empty() ? kind : kind + ", " + words;
  }
}

}  // namespace detail

/// Calls f(field, value) for each field of `options`.
template <class Options, class F>
void for_fields(Options& options, const F& f) {
  std::apply([&](const auto&... field) { (f(field, options.*field.member), ...); },
             Options::fields());
}

/// Sets the option `name` from text. False when there is none of that name; throws Error, naming
/// `owner`, for a value that cannot be read or is out of range.
template <class Options>
bool set_option(Options& options, std::string_view owner, std::string_view name,
                const std::string& text) {
  bool found = false;
  for_fields(options, [&](const auto& field, auto& value) {
    if (field.name != name) return;
    detail::parse_value(owner, name, field.range, text, value);
    found = true;
  });
  return found;
}

/// Checks every number, which code may have set without set_option, by check_range or check_float.
template <class Options>
void check_options(const Options& options, std::string_view owner,
                   decltype(check_range)& check_number = check_range) {
  for_fields(options, [&](const auto& field, const auto& value) {
    const OptionValue plain = detail::plain_value(value);
    if (const double* const number = std::get_if<double>(&plain))
      check_number(owner, field.name, *number, field.range);
    else if (const i64* const whole = std::get_if<i64>(&plain))
      check_number(owner, field.name, static_cast<double>(*whole), field.range);
  });
}

template <class Options>
OptionValues option_values(const Options& options) {
  OptionValues values;
  for_fields(options, [&](const auto& field, const auto& value) {
    values.emplace_back(field.name, detail::plain_value(value));
  });
  return values;
}

template <class Options>
std::vector<OptionHelp> option_help(const Options& options) {
  std::vector<OptionHelp> help;
  for_fields(options, [&](const auto& field, const auto& value) {
    help.push_back({std::string(field.name), to_string(detail::plain_value(value)),
                    detail::taken_by(value, field.range), std::string(field.meaning)});
  });
  return help;
}

}  // namespace minima

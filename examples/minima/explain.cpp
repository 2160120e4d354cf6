/// minima explain: a step of an optimizer, number by number.
#include "train/explain.hpp"

#include <charconv>

#include "core/rng.hpp"
#include "core/text/split.hpp"
#include "data/unicode.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "optim/options.hpp"
#include "train/run.hpp"

namespace minima {
namespace {

constexpr i64 kMostElements = 1 << 24;

/// `part` of `text`.
i64 whole_number(const std::string& option, const std::string& text, const std::string& part,
                 i64 least, i64 most) {
  i64 x = -1;
  const std::string_view digits = unicode::trimmed(part);
  const char* const end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, x);
  check(error == std::errc() && rest == end && x >= least && x <= most,
        "explain: {} is '{}'; '{}' must be a whole number from {} to {}", option, text, part, least,
        most);
  return x;
}

/// "1,2;3,4": rows with semicolons between, one row alone a vector. A gradient may also be nan, inf or -inf.
Tensor parse_values(const std::string& option, const std::string& text) {
  const bool gradient = option == "--gradient";
  std::vector<float> values;
  const std::vector<std::string> rows = split(text, ';');
  std::size_t columns = 0;
  for (const std::string& row : rows) {
    const std::vector<std::string> numbers = split(row, ',');
    if (columns == 0) columns = numbers.size();
    check(numbers.size() == columns,
          "explain: {} has a row of {} numbers after one of {}; rows are as long as each other",
          option, numbers.size(), columns);
    for (const std::string& part : numbers) {
      const std::string number(unicode::trimmed(part));
      if (gradient && (number == "nan" || number == "inf" || number == "-inf")) {
        values.push_back(std::strtof(number.c_str(), nullptr));
        continue;
      }
      const double exact = parse_number("explain", option, number);
      values.push_back(static_cast<float>(exact));
      check(std::isfinite(values.back()), "explain: {} is '{}'; a float holds at most 3.4e38",
            option, number);
      check(values.back() != 0 || exact == 0,
            "explain: {} is '{}'; the least float above 0 is 1.4e-45", option, number);
    }
  }
  const i64 height = static_cast<i64>(rows.size()), width = static_cast<i64>(columns);
  return Tensor::from(values, height == 1 ? Shape{width} : Shape{height, width});
}

struct ExplainVerb {
  std::string optimizer = "adamw", weight, shape, element = "0";
  std::vector<std::string> gradients;
  std::optional<i64> steps;  ///< else one for each gradient
  u64 seed = 1;
  bool json = false;
  ExplainOptions options;

  Tensor random(const Shape& sizes, const std::string& stream, double scale) const {
    Tensor x = Tensor::empty(sizes);
    RandomSequence sequence(seed, stream);
    for (float& value : x.span<float>()) value = static_cast<float>(scale * sequence.normal());
    return x;
  }

  Tensor initial() const {
    check(weight.empty() || shape.empty(),
          "explain: --weight and --shape; give the numbers, or the shape of random ones");
    if (!weight.empty()) return parse_values("--weight", weight);
    if (shape.empty()) return Tensor::from(std::vector<float>{0.5f});
    std::vector<i64> sizes;
    double count = 1;
    for (const std::string& size : split(shape, 'x')) {
      sizes.push_back(whole_number("--shape", shape, size, 1, kMostElements));
      count *= static_cast<double>(sizes.back());
    }
    check(sizes.size() <= 2 && count <= kMostElements,
          "explain: --shape is '{}'; it must be N or NxM, of 1 to {} elements", shape,
          kMostElements);
    return random(Shape(std::span<const i64>(sizes)), "weight", 1);
  }

  std::vector<Tensor> given_gradients(const Shape& sizes) const {
    std::vector<Tensor> given;
    for (const std::string& text : gradients) {
      given.push_back(parse_values("--gradient", text));
      check(given.back().shape() == sizes, "explain: --gradient {} is {}, the weight {}", text,
            given.back().shape(), sizes);
    }
    return given;
  }

  Tensor gradient(i64 step, const std::vector<Tensor>& given, const Shape& sizes) const {
    if (!given.empty()) return given[std::min(static_cast<std::size_t>(step), given.size() - 1)];
    if (shape.empty() && weight.empty()) return Tensor::full(sizes, 0.2f);
    return random(sizes, fmt::format("gradient {}", step), 0.1);
  }

  i64 element_of(const Shape& sizes) const {
    const std::vector<std::string> parts = split(element, ',');
    check(parts.size() == 1 || static_cast<int>(parts.size()) == sizes.rank(),
          "explain: --element is '{}', the weight is {}; give its place from 0, or row and column",
          element, sizes);
    i64 at = 0;
    for (std::size_t k = 0; k < parts.size(); ++k) {
      const i64 most = parts.size() == 1 ? sizes.size() : sizes[static_cast<int>(k)];
      at = at * most + whole_number("--element", element, parts[k], 0, most - 1);
    }
    return at;
  }

  void print_options(const Json& options) const {
    std::vector<std::string> words;
    for (const auto& [name, value] : options.items())
      words.push_back(fmt::format("{} {}", name,
                                  value.is_null()     ? "none"
                                  : value.is_string() ? value.get<std::string>()
                                                      : value.dump()));
    fmt::print("{}: {}\n\n", parse_spec(optimizer).first, fmt::join(words, ", "));
  }

  void run() {
    const Tensor value = initial();
    const Shape sizes = value.shape();
    options.element = element_of(sizes);
    const std::vector<Tensor> given = given_gradients(sizes);
    const i64 count = steps.value_or(std::max<i64>(std::ssize(given), 1));
    check(count >= 1 && count <= 100'000,
          "explain: --steps is {}; it must lie between 1 and 100,000", count);
    check(std::ssize(given) <= count, "explain: --steps is {}, and --gradient is given {} times",
          count, given.size());
    const double lr_factor = options.step.lr_factor;
    check(lr_factor >= 0 && std::isfinite(lr_factor),
          "explain: --lr-factor is {}; it must be a number of at least 0", lr_factor);
    for (const auto& [name, limit] :
         {std::pair{"clip", options.step.clip_norm}, {"clip-value", options.step.clip_value}})
      check(limit >= 0, "explain: --{} is {}; it must be at least 0 (0: not clipped)", name, limit);
    Explanation explanation(optimizer, value, options);
    if (lr_factor != 1 && !explanation.optimizer().takes_schedule())
      print_note("note: {} makes its own step size: --lr-factor has no effect\n",
                 explanation.optimizer().name());
    if (gradients.empty() && !weight.empty())
      print_note("note: the gradient is random (--seed {}); --gradient gives one\n", seed);
    const Json all = explanation.optimizer().options();
    if (const std::string trained = with_defaults(optimizer);
        validate_optimizer(trained, {})["groups"][0]["options"] != all["groups"][0]["options"])
      print_note("note: train and compare take {} as {}\n", optimizer, trained);
    Json document = {{"spec", optimizer}, {"options", all}, {"steps", Json::array()}};
    for (i64 k = 0; k < count; ++k) {
      Json step = explanation.step(gradient(k, given, sizes));
      if (json) {
        document["steps"].push_back(std::move(step));
        continue;
      }
      if (k == 0) print_options(all["groups"][0]["options"]);  // what is refused is refused by now
      fmt::print("{}{}", k ? "\n" : "", describe(step));
    }
    if (json) fmt::print("{}\n", document.dump());
  }
};

}  // namespace

void add_explain(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("explain", "every number of an optimizer's step");
  const auto options = std::make_shared<ExplainVerb>();
  verb.add_option(
          "optimizer", options->optimizer,
          "with its options: adamw:lr=0.1:state=block8 (min_8bit_size is 1 here, else 4096)")
      ->capture_default_str();
  verb.add_option("--weight", options->weight, "numbers before the step: 0.5 or 1,2;3,4");
  verb.add_option("--gradient", options->gradients,
                  "numbers (or nan, inf, -inf) in the weight's shape; once for each step, the last "
                  "for the rest");
  verb.add_option("--shape", options->shape, "random numbers instead: N or NxM");
  verb.add_option("--element", options->element, "which one is explained: 3, or row and column 0,3")
      ->capture_default_str();
  verb.add_option("--steps", options->steps, "how many (default: one, or one for each --gradient)");
  verb.add_option("--name", options->options.name, "the parameter's name (adapm chooses by it)")
      ->capture_default_str();
  verb.add_option("--clip", options->options.step.clip_norm, "largest norm of the gradient");
  verb.add_option("--clip-value", options->options.step.clip_value,
                  "largest magnitude of the gradient's entries");
  verb.add_option("--lr-factor", options->options.step.lr_factor, "what a schedule would give")
      ->capture_default_str();
  verb.add_option("--seed", options->seed, "of random numbers")->capture_default_str();
  verb.add_flag("--json", options->json, "one JSON document");
  verb.callback([options] { options->run(); });
}

}  // namespace minima

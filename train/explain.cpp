#include "train/explain.hpp"

#include "core/code_map.hpp"
#include "core/text/grouped.hpp"
#include "core/text/utf8.hpp"
#include "optim/clip.hpp"
#include "optim/options.hpp"

namespace minima {
namespace {

std::unique_ptr<Parameter> make_parameter(const std::string& name, Tensor value, i64 element) {
  check(element >= 0 && element < value.size(),
        "explain: there is no element {}; the weight is {}, of {} elements", element, value.shape(),
        value.size());
  auto parameter = std::make_unique<Parameter>();
  parameter->name = name;
  parameter->value = std::move(value);
  return parameter;
}

std::string quantizing(const std::string& spec) {
  return has_option(spec, "min_8bit_size") ? spec : spec + ":min_8bit_size=1";
}

double number(float x) { return static_cast<double>(x); }

constexpr i64 kMostNumbers = 4096;     ///< that are listed of a tensor
constexpr std::size_t kMostShown = 6;  ///< of those, in text

/// Its numbers, or null where they are too many.
Json all_of(const Tensor& tensor) {
  if (tensor.size() > kMostNumbers) return nullptr;
  const Tensor values = tensor.to(DType::f64);
  const std::span<const double> numbers = values.span<double>();
  return std::vector<double>(numbers.begin(), numbers.end());
}

/// Each slot of the one parameter of this shape as it is stored: its value at an element, or all of it.
Json stored_slots(const Optimizer& optimizer, const Shape& shape, i64 at) {
  Json slots = Json::array();
  const auto tensors = by_name(optimizer.tensors());
  for (const PlannedSlot& slot : optimizer.state().slots) {
    if (slot.storage == Storage::i32) continue;
    Json json = {{"slot", slot.slot},
                 {"letter", slot.letter},
                 {"storage", storage_name(slot.storage)},
                 {"shape", slot.shape.sizes()}};
    const Tensor values = optimizer.values(slot);
    // A vector's moment is a mean of one row, and so its own.
    const bool by_element = slot.dense || (slot.shape.rank() == 1 && slot.shape == shape);
    if (by_element)
      json["value"] = number(values.data<float>()[at]);
    else
      json["value"] = all_of(values);
    if (slot.storage == Storage::block8) {
      const u8 code = tensors.at(slot.key() + ".codes").data<u8>()[at];
      json["code"] = code;
      json["map"] =
          number((slot.sign == Sign::any ? signed_code_map() : unsigned_code_map()).value[code]);
      json["absmax"] =
          number(tensors.at(slot.key() + ".absmax").data<float>()[at / slot.block_size]);
    }
    slots.push_back(std::move(json));
  }
  return slots;
}

/// The slots as they are stored after a step, with their values before it.
Json before_and_after(Json before, Json after) {
  for (std::size_t k = 0; k < after.size(); ++k) {
    Json& slot = after[k];
    if (!slot["value"].is_null()) {
      slot["before"] = std::move(before[k]["value"]);
      slot["after"] = std::move(slot["value"]);
    }
    slot.erase("value");
  }
  return after;
}

/// {"notes", "constants", "lines"}: the formula's account.
Json to_json(const Probe& probe) {
  Json notes = Json::array(), constants = Json::array(), lines = Json::array();
  for (const Note& note : probe.notes)
    notes.push_back({{"letter", note.letter}, {"formula", note.formula}, {"value", note.value}});
  for (const Trace::Constant& constant : probe.trace.constants())
    constants.push_back({{"letter", constant.letter}, {"value", number(constant.value)}});
  for (const Trace::Line& line : probe.trace.lines())
    lines.push_back({{"letter", line.name},
                     {"letters", line.letters},
                     {"numbers", line.numbers},
                     {"value", number(line.value)}});
  return {{"notes", std::move(notes)},
          {"constants", std::move(constants)},
          {"lines", std::move(lines)}};
}

std::string text_of(const Json& number) {
  return fmt::format("{}", static_cast<float>(without_sign_of_nan(number.get<double>())));
}

/// How a slot of a step's account is stored: the element's code, its value, or the first of all values.
std::string describe_slot(const Json& slot) {
  if (slot.contains("code"))
    return fmt::format("code {} → {} × absmax {} = {}", slot["code"].get<int>(),
                       text_of(slot["map"]), text_of(slot["absmax"]), text_of(slot["after"]));
  const Json after = slot.value("after", Json::array());
  if (!after.is_array()) return text_of(after);
  std::vector<std::string> numbers;
  for (std::size_t i = 0; i < std::min(after.size(), kMostShown); ++i)
    numbers.push_back(text_of(after[i]));
  if (numbers.empty() || after.size() > numbers.size()) numbers.push_back("…");
  return fmt::format("{}, of the whole parameter{}", fmt::join(numbers, ", "),
                     slot["shape"].empty() ? "" : " " + slot["shape"].dump());
}

}  // namespace

Explanation::Explanation(const std::string& spec, Tensor value, ExplainOptions options)
    : parameter_(make_parameter(options.name, std::move(value), options.element)),
      options_(std::move(options)),
      optimizer_(make_optimizer(quantizing(spec), std::vector<Parameter*>{parameter_.get()})) {}

Json Explanation::step(const Tensor& gradient) {
  const i64 at = options_.element;
  const auto weight = [&] { return value().to(DType::f64).data<double>()[at]; };

  parameter_->gradient = gradient;
  Probe probe;
  probe.element = at;
  StepOptions options = options_.step;
  options.measure_norm = true;
  options.probed = parameter_.get();
  options.probe = &probe;
  Json json = {{"optimizer", optimizer_.name()},
               {"t", ++t_},
               {"element", at},
               {"shape", value().shape().sizes()},
               {"gradient", gradient.to(DType::f64).data<double>()[at]}};
  const double before = weight();
  for (const auto& [what, tensor] : {std::pair{"weight", value()}, {"gradient", gradient}})
    if (Json all = all_of(tensor); !all.is_null()) json["given"][what] = std::move(all);
  Json slots = stored_slots(optimizer_, value().shape(), at);
  const StepReport report = optimizer_.step(options);
  parameter_->gradient.clear();

  json["grad_norm"] = report.grad_norm.value_or(0);
  json["clip_norm"] = options.clip_norm;
  json["clip_factor"] =
      options.clip_norm > 0 ? clip_factor(report.grad_norm.value_or(0), options.clip_norm) : 1;
  json["clip_value"] = options.clip_value;
  json["lr_factor"] = optimizer_.takes_schedule() ? options.lr_factor : 1;
  json.update(to_json(probe));
  json["value"] = {{"before", before}, {"after", weight()}};
  json["slots"] = before_and_after(std::move(slots), stored_slots(optimizer_, value().shape(), at));
  return json;
}

std::string describe(const Json& step) {
  const auto element = step["element"].get<i64>();
  const auto shape = step["shape"].get<std::vector<i64>>();
  const std::string place = shape.size() != 2 ? ""
                                              : fmt::format(" (row {}, column {})",
                                                            element / shape[1], element % shape[1]);
  std::string result =
      fmt::format("step {} of {}, element {}{} of {}\n", step["t"].get<i64>(),
                  step["optimizer"].get<std::string>(), element, place, step["shape"].dump());
  std::vector<std::pair<std::string, std::string>> lines;
  const auto line = [&](const std::string& letter, const std::string& right) {
    lines.emplace_back(letter, right);
  };
  line("p", "= " + text_of(step["value"]["before"]) + "   the weight");
  line("g", "= " + text_of(step["gradient"]) + "   its gradient");
  if (step["clip_norm"].get<double>() > 0)
    line("clipping",
         fmt::format("norm {}, at most {}: g is multiplied by {}", text_of(step["grad_norm"]),
                     text_of(step["clip_norm"]), text_of(step["clip_factor"])));
  if (step["clip_value"].get<double>() > 0)
    line("cutting", fmt::format("each entry to ± {}, after scaling", text_of(step["clip_value"])));
  if (const double factor = step["lr_factor"].get<double>(); factor != 1)
    line("schedule", fmt::format("the learning rate is multiplied by {}", text_of(factor)));
  for (const Json& note : step["notes"])
    line(note["letter"], fmt::format("= {}{}{}", text_of(note["value"]),
                                     note["formula"].get<std::string>().empty() ? "" : "   ",
                                     note["formula"].get<std::string>()));
  const auto noted = [&](const Json& letter) {
    return std::ranges::any_of(step["notes"],
                               [&](const Json& note) { return note["letter"] == letter; });
  };
  for (const Json& constant : step["constants"])
    if (!noted(constant["letter"])) line(constant["letter"], "= " + text_of(constant["value"]));
  for (const Json& each : step["lines"]) {
    line(each["letter"], "← " + each["letters"].get<std::string>());
    if (each["numbers"] != each["letters"]) line("", "= " + each["numbers"].get<std::string>());
    line("", "= " + text_of(each["value"]));
  }
  for (const Json& slot : step["slots"])
    line(slot["slot"],
         fmt::format("stored in {}: {}", slot["storage"].get<std::string>(), describe_slot(slot)));
  std::size_t width = 14;
  for (const auto& [letter, right] : lines) width = std::max(width, columns_of(letter));
  for (const auto& [letter, right] : lines)
    result +=
        fmt::format("  {}{} {}\n", letter, std::string(width - columns_of(letter), ' '), right);
  return result;
}

}  // namespace minima

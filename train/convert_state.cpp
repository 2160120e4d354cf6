#include "train/convert_state.hpp"

#include <algorithm>
#include <set>

#include "core/text/columns.hpp"
#include "optim/factored.hpp"

namespace minima {
namespace {

using How = SlotConversion::How;

/// What a slot holds, as far as another rule can use it.
enum class Meaning { own, mean, square, largest_square, rows, columns, recomputed };

Meaning meaning_of(std::string_view family, std::string_view slot) {
  struct Entry {
    std::string_view family, slot;
    Meaning meaning;
  };
  static constexpr Entry entries[] = {
      {"adam", "exp_avg", Meaning::mean},
      {"adam", "exp_avg_sq", Meaning::square},
      {"adam", "max_exp_avg_sq", Meaning::largest_square},
      {"adam", "exp_avg_sq_row", Meaning::rows},
      {"adam", "exp_avg_sq_col", Meaning::columns},
      {"sgd", "momentum_buffer", Meaning::mean},
      {"lion", "exp_avg", Meaning::mean},
      {"factored", "exp_avg_sq", Meaning::square},
      {"factored", "variance", Meaning::square},
      {"factored", "exp_avg_sq_row", Meaning::rows},
      {"factored", "row_var", Meaning::rows},
      {"factored", "exp_avg_sq_col", Meaning::columns},
      {"factored", "col_var", Meaning::columns},
      {"factored", "RMS", Meaning::recomputed},
  };
  for (const Entry& entry : entries)
    if (entry.family == family && entry.slot == slot) return entry.meaning;
  return Meaning::own;
}

std::string family_of(const std::string& optimizer) {
  for (const char* adam : {"adam", "adamw", "adam8bit", "adamw8bit", "adapm"})
    if (optimizer == adam) return "adam";
  for (const char* factored : {"adafactor", "adafactor-torch", "came"})
    if (optimizer == factored) return "factored";
  return optimizer;
}

/// An optimizer's state, by parameter.
struct State {
  struct Entry {
    std::map<std::string, PlannedSlot> slots;
    Json options;  ///< of its group
    Tensor step;   ///< undefined where none is kept
    i64 t() const { return step.defined() ? step.to(Device{}).data<i32>()[0] : 0; }
  };

  explicit State(const Optimizer& optimizer) : name(optimizer.name()), family(family_of(name)) {
    for (const auto& [key, tensor] : optimizer.tensors()) tensors.emplace(key, tensor);
    const Json options = optimizer.options();
    for (const Json& group : options["groups"])
      for (const Json& parameter : group["parameters"])
        entries[parameter.get<std::string>()].options = group["options"];
    for (const PlannedSlot& slot : optimizer.state().slots) {
      Entry& entry = entries[slot.parameter];
      if (slot.storage == Storage::i32)
        entry.step = tensors.at(slot.key());
      else
        entry.slots.emplace(slot.slot, slot);
    }
  }

  double option(const Entry& entry, const char* option) const {
    const auto found = entry.options.find(option);
    return found != entry.options.end() && found->is_number() ? found->get<double>() : 0;
  }

  /// What the slot holds where every gradient was 1 (of a square: 1²). 0 or inf: not known.
  double unit(const Entry& entry, Meaning meaning, i64 t) const {
    if (family == "adam" && meaning == Meaning::mean)
      return 1 - integer_power(option(entry, "beta1"), t);
    if (family == "adam") return 1 - integer_power(option(entry, "beta2"), t);
    if (family == "sgd") {
      const double momentum = option(entry, "momentum");
      return momentum < 1 ? (1 - option(entry, "dampening")) / (1 - momentum) : 0;
    }
    if (name == "came") return 1 - integer_power(option(entry, "beta2"), t);
    return 1;
  }

  double sign(const Entry& entry) const { return entry.options.value("maximize", false) ? -1 : 1; }

  const PlannedSlot* find(const Entry& entry, Meaning meaning) const {
    for (const auto& [name, slot] : entry.slots)
      if (meaning_of(family, name) == meaning) return &slot;
    return nullptr;
  }

  std::string name, family;
  std::map<std::string, Entry> entries;
  std::map<std::string, Tensor> tensors;  ///< shared with the optimizer
};

/// `factor` times the means of dense v over the columns (one for each row), or over the rows.
Tensor means(const Tensor& v, Meaning meaning, const Shape& shape, double factor) {
  const MatrixShape m(v.shape());
  const bool by_row = meaning == Meaning::rows;
  std::vector<double> sums(static_cast<std::size_t>(shape.size()), 0);
  const float* x = v.data<float>();
  for (i64 i = 0; i < m.batch * m.rows; ++i)
    for (i64 j = 0; j < m.columns; ++j)
      sums[static_cast<std::size_t>(by_row ? i : i / m.rows * m.columns + j)] += *x++;
  const double scale = factor / static_cast<double>(by_row ? m.columns : m.rows);
  Tensor result = Tensor::empty(shape);
  for (std::size_t i = 0; i < sums.size(); ++i)
    result.data<float>()[i] = static_cast<float>(scale * sums[i]);
  return result;
}

/// `factor` R C / mean(R) for a parameter of `shape`.
Tensor product(Tensor rows, Tensor columns, const Shape& shape, double factor) {
  Tensor result = Tensor::empty(shape);
  float* out = result.data<float>();
  for_moment(rows.data<float>(), columns.data<float>(), MatrixShape(shape),
             [&](double v) { *out++ = static_cast<float>(factor * v); });
  return result;
}

Tensor scaled(Tensor x, double factor) {
  for (float& value : x.span<float>()) value = static_cast<float>(factor * value);
  return x;
}

class Conversion {
 public:
  Conversion(const Optimizer& from, Optimizer& to) : from_(from), to_(to), old_(from), new_(to) {}

  std::vector<SlotConversion> run() {
    const auto sorted = [](const Optimizer& optimizer) {
      std::map<std::string, Shape> shapes;
      for (ParameterShape& each : optimizer.parameters()) shapes.emplace(each.name, each.shape);
      return shapes;
    };
    check(sorted(from_) == sorted(to_),
          "convert_state: {} has {} parameters, {} has {}, or they have other names or shapes; "
          "make both of the same model",
          old_.name, old_.entries.size(), new_.name, new_.entries.size());
    std::vector<SlotConversion> result;
    for (const PlannedSlot& slot : to_.state().slots) {
      const State::Entry &source = old_.entries.at(slot.parameter),
                         &target = new_.entries.at(slot.parameter);
      if (slot.storage == Storage::i32) {
        // SGD treats its first step differently; where a momentum went over, that step is past.
        const bool behind = new_.family == "sgd" && result.back().how != How::afresh;
        Tensor step = target.step;
        step.copy_from(
            Tensor::scalar(static_cast<i32>(std::max<i64>(behind, t_of(source, target)))));
        continue;
      }
      result.push_back(convert(slot, source, target));
    }
    for (const auto& [parameter, entry] : old_.entries)
      for (const auto& [slot, planned] : entry.slots)
        if (!used_.contains(&planned) && meaning_of(old_.family, slot) != Meaning::recomputed)
          result.push_back({parameter, "", slot, How::dropped});
    return result;
  }

 private:
  bool same() const { return old_.name == new_.name; }

  bool knows_square(const State::Entry& source) const {
    return old_.find(source, Meaning::square) || old_.find(source, Meaning::rows);
  }

  /// The step count that the new optimizer goes on from.
  i64 t_of(const State::Entry& source, const State::Entry& target) const {
    const bool takes_square =
        new_.find(target, Meaning::square) || new_.find(target, Meaning::rows);
    return same() || (takes_square && knows_square(source)) ? source.t() : 0;
  }

  SlotConversion convert(const PlannedSlot& slot, const State::Entry& source,
                         const State::Entry& target) {
    const Meaning meaning = meaning_of(new_.family, slot.slot);
    const auto afresh = [&](std::string why, bool needs_warmup = true) -> SlotConversion {
      return {slot.parameter, slot.slot, "", How::afresh, std::move(why), needs_warmup};
    };
    if (meaning == Meaning::recomputed) return afresh("computed anew in each step", false);
    if (meaning == Meaning::own) {
      const auto found = source.slots.find(slot.slot);
      if (same() && found != source.slots.end() && found->second.shape == slot.shape)
        return copy(found->second, slot, 1);
      const bool low_rank = slot.slot == "basis" || slot.slot == "coef";
      return afresh(low_rank ? "a factor of a mean of low rank" : "a statistic of its own");
    }
    if (!same() && old_.tensors.contains(slot.parameter + "/step") && source.t() == 0)
      return afresh("the parameter has made no step", false);
    const i64 t = t_of(source, target);
    const auto factor = [&](Meaning held) {
      const double from = old_.unit(source, held, source.t()), to = new_.unit(target, meaning, t);
      return from == to ? 1.0 : to / from;
    };
    switch (meaning) {
      case Meaning::mean: {
        const PlannedSlot* mean = old_.find(source, Meaning::mean);
        if (!mean)
          return afresh(
              source.slots.contains("basis")
                  ? "the mean before is one of low rank, which knows a part of it"
                  : fmt::format("{} keeps no mean of this parameter's gradients", old_.name));
        if (new_.family == "adam" && !knows_square(source))
          return afresh(fmt::format("{} keeps no second moment to divide it by", old_.name));
        // SGD and Lion are taken to be long past their first steps.
        const double quotient = factor(Meaning::mean) * old_.sign(source) * new_.sign(target);
        if (!std::isfinite(quotient) || quotient == 0) return afresh("a sum of no known size");
        return copy(*mean, slot, quotient);
      }
      case Meaning::largest_square:
        if (const PlannedSlot* largest = old_.find(source, Meaning::largest_square))
          return copy(*largest, slot, factor(Meaning::largest_square));
        [[fallthrough]];  // the mean itself is the largest that is known
      case Meaning::square:
        if (const PlannedSlot* square = old_.find(source, Meaning::square);
            square && square->shape == slot.shape)
          return copy(*square, slot, factor(Meaning::square));
        if (const PlannedSlot* rows = old_.find(source, Meaning::rows)) {
          const PlannedSlot* columns = old_.find(source, Meaning::columns);
          to_.set_values(slot, product(from_.values(*rows), from_.values(*columns), slot.shape,
                                       factor(Meaning::rows)));
          used_.insert({rows, columns});
          return {slot.parameter, slot.slot, rows->slot + ", " + columns->slot, How::converted,
                  "R C / mean(R)" + times(factor(Meaning::rows))};
        }
        break;
      case Meaning::rows:
      case Meaning::columns:
        if (const PlannedSlot* same_factor = old_.find(source, meaning))
          return copy(*same_factor, slot, factor(meaning));
        if (const PlannedSlot* square = old_.find(source, Meaning::square)) {
          const double quotient = factor(Meaning::square);
          used_.insert(square);
          to_.set_values(slot, means(from_.values(*square), meaning, slot.shape, quotient));
          return {slot.parameter, slot.slot, square->slot, How::converted,
                  (meaning == Meaning::rows ? "row means" : "column means") + times(quotient)};
        }
        break;
      case Meaning::own:
      case Meaning::recomputed:
        break;
    }
    return afresh(fmt::format("{} keeps no second moment", old_.name));
  }

  static std::string times(double factor) {
    return factor == 1 ? "" : fmt::format(" × {:.4g}", factor);
  }

  SlotConversion copy(const PlannedSlot& source, const PlannedSlot& target, double factor) {
    used_.insert(&source);
    SlotConversion result{target.parameter, target.slot, source.slot};
    const bool same_storage = source.storage == target.storage &&
                              source.block_size == target.block_size && source.sign == target.sign;
    if (factor != 1) {
      result.how = How::converted;
      result.note = times(factor).substr(1);
    } else {
      result.how = same_storage ? How::copied : How::re_encoded;
    }
    if (result.how == How::copied && source.shape == target.shape) {
      // The codes themselves: decoded and encoded, a block whose maximum has no code would change.
      for (const char* part : {"", ".codes", ".absmax"})
        if (const auto found = new_.tensors.find(target.key() + part); found != new_.tensors.end())
          found->second.copy_from(old_.tensors.at(source.key() + part));
    } else {
      // Row means are [n] here and [n, 1] there.
      const Tensor values = from_.values(source).reshape(target.shape);
      to_.set_values(target, factor == 1 ? values : scaled(values, factor));
    }
    return result;
  }

  const Optimizer& from_;
  Optimizer& to_;
  State old_, new_;
  std::set<const PlannedSlot*> used_;  ///< of old_
};

}  // namespace

std::string_view how_name(How how) {
  switch (how) {
    case How::copied:
      return "copied";
    case How::re_encoded:
      return "re-encoded";
    case How::converted:
      return "converted";
    case How::dropped:
      return "dropped";
    case How::afresh:
      break;
  }
  return "afresh";
}

std::vector<SlotConversion> convert_state(const Optimizer& from, Optimizer& to) {
  return Conversion(from, to).run();
}

std::string table(const std::vector<SlotConversion>& conversions) {
  std::vector<std::pair<std::array<std::string, 3>, i64>> counts;
  for (const SlotConversion& c : conversions) {
    std::string how(how_name(c.how));
    if (!c.note.empty()) how += ": " + c.note;
    const std::array<std::string, 3> line{c.slot.empty() ? "–" : c.slot,
                                          c.from.empty() ? "–" : c.from, how};
    const auto found = std::ranges::find(counts, line, &decltype(counts)::value_type::first);
    if (found == counts.end())
      counts.emplace_back(line, 1);
    else
      ++found->second;
  }
  if (counts.empty()) return "the new optimizer keeps no state\n";
  std::vector<std::vector<std::string>> lines{{"slot", "from", "tensors", "how"}};
  for (const auto& [line, count] : counts)
    lines.push_back({line[0], line[1], fmt::format("{}", count), line[2]});
  return in_columns(std::move(lines), "llrl");
}

}  // namespace minima

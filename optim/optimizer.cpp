#include "optim/optimizer.hpp"

#include <algorithm>
#include <set>

#include "optim/clip.hpp"
#include "optim/registry.hpp"
#include "optim/storage/slot.hpp"

namespace minima {
namespace {

GradientView gradient_view(const Parameter& parameter) {
  const Gradient& gradient = parameter.gradient;
  const Shape &shape = parameter.value.shape(), &given = gradient.values().shape();
  GradientView view;
  view.values = float_view(gradient.values(), "gradient", parameter.name);
  if (gradient.kind() == Gradient::Kind::dense) {
    check(given == shape, "optimizer: the gradient of '{}' is {}, its value {}", parameter.name,
          given, shape);
    return view;
  }
  check(shape.rank() >= 1 && given.rank() == shape.rank() &&
            std::equal(given.begin() + 1, given.end(), shape.begin() + 1),
        "optimizer: the gradient of '{}' has rows of {}, its value is {}", parameter.name, given,
        shape);
  const auto ids = gradient.ids().span<i64>();
  for (std::size_t i = 0; i < ids.size(); ++i)
    check(
        ids[i] >= 0 && ids[i] < shape[0] && (i == 0 || ids[i - 1] < ids[i]),
        "optimizer: the gradient of '{}' has row {} at place {}; rows must ascend and be below {}",
        parameter.name, ids[i], i, shape[0]);
  view.ids = ids.data();
  view.count = static_cast<i64>(ids.size());
  view.width = shape[0] ? shape.size() / shape[0] : 0;
  return view;
}

/// The root mean square of `size` values of which x holds those that are not zero.
double root_mean_square(const Tensor& x, i64 size) {
  Parameter stand_in{"", Tensor(), x};
  Parameter* const parameters[] = {&stand_in};
  return size ? global_norm(parameters) / std::sqrt(static_cast<double>(size)) : 0;
}

/// A step of one parameter, with what it did.
TensorReport watched_step(const AnyRule& rule, StepView& view, double lr_factor) {
  Probe own;
  if (!view.probe) view.probe = &own;
  const i64 size = view.shape.size();
  const i64 given = view.gradient.ids ? view.gradient.count * view.gradient.width : size;
  TensorReport report{std::string(view.name), 0, 0, 0, 0, false};
  report.gradient_rms = root_mean_square(read_slot(view.gradient.values, {given}), size) *
                        std::abs(static_cast<double>(view.gradient_scale));
  Tensor change = read_slot(view.value, {size});
  report.weight_rms = root_mean_square(change, size);
  rule.step(std::span(&view, 1), lr_factor);
  for_pieces(view, {}, size, 0, size, Access::read, [&](const Piece& after) {
    float* const before = change.data<float>() + after.j;
    for (i64 k = 0; k < after.n; ++k) before[k] -= after.p[k];
  });
  report.update_rms = root_mean_square(change, size);
  const Note *const alpha = view.probe->find("α"), *const clip = view.probe->find("clip");
  if (alpha)
    report.step_size = alpha->value;
  else
    for (const auto& [name, value] : rule.options())
      if (name == "lr") report.step_size = std::get<double>(value) * lr_factor;
  report.update_clipped = clip && clip->value > 1;
  return report;
}

Json to_json(const OptionValues& options) {
  Json json = Json::object();
  for (const auto& [name, value] : options)
    std::visit(
        [&, &name = name](const auto& each) {
          if constexpr (std::is_same_v<decltype(each), const std::monostate&>)
            json[name] = nullptr;
          else
            json[name] = each;
        },
        value);
  return json;
}

}  // namespace

struct Optimizer::Impl {
  struct Entry {
    Parameter* parameter;
    std::size_t group, first_slot, slot_count;  ///< in `memory` and `plan`; without `step`
    i32 own_step = 0;                           ///< where the rule keeps none in its state
  };

  explicit Impl(OptimizerSpec resolved) : spec(std::move(resolved)) {}

  OptimizerSpec spec;
  std::vector<std::unique_ptr<AnyRule>> rules;  ///< of each group
  std::vector<Entry> entries;
  StatePlan plan;
  std::vector<StoredSlot> memory;  ///< of each planned slot

  bool keeps_step() const { return spec.rule->keeps_step(); }
  i32& step_of(Entry& entry) {
    return keeps_step() ? *memory[entry.first_slot + entry.slot_count].values.data<i32>()
                        : entry.own_step;
  }

  void add(Parameter& parameter, std::size_t group) {
    std::vector<PlannedSlot> slots =
        plan_slots({parameter.name, parameter.value.shape()}, *rules[group], spec.storage);
    entries.push_back(
        {&parameter, group, plan.slots.size(), slots.size() - (keeps_step() ? 1 : 0)});
    check(entries.back().slot_count <= kMaxSlots, "{}: {} slots; the engine takes {}", spec.name,
          entries.back().slot_count, kMaxSlots);
    for (PlannedSlot& slot : slots) {
      memory.push_back(StoredSlot::make(slot));
      plan.slots.push_back(std::move(slot));
    }
  }

  StepView view(Entry& entry, const StepOptions& options) {
    Parameter& parameter = *entry.parameter;
    StepView view;
    view.name = parameter.name;
    view.shape = parameter.value.shape();
    view.value = float_view(parameter.value, "value", parameter.name);
    view.gradient = gradient_view(parameter);
    for (std::size_t k = 0; k < entry.slot_count; ++k) {
      const PlannedSlot& planned = plan.slots[entry.first_slot + k];
      view.slots[k] = memory[entry.first_slot + k].view(planned);
      view.slots[k].name = planned.slot;
      view.slots[k].letter = planned.letter;
    }
    view.slot_count = static_cast<int>(entry.slot_count);
    view.t = step_of(entry) + 1;
    view.clip_value = static_cast<float>(options.clip_value);
    view.guard = spec.guard();
    view.lazy_rows = spec.engine.lazy_rows;
    view.probe = options.probed == &parameter ? options.probe : nullptr;
    return view;
  }

  /// Where a planned slot is among all of them.
  std::size_t index_of(const PlannedSlot& slot) const {
    const auto found = std::ranges::find(plan.slots, slot.key(), &PlannedSlot::key);
    check(found != plan.slots.end(), "optimizer state: there is no '{}'", slot.key());
    return static_cast<std::size_t>(found - plan.slots.begin());
  }
};

Optimizer::Optimizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Optimizer::Optimizer(Optimizer&&) noexcept = default;
Optimizer& Optimizer::operator=(Optimizer&&) noexcept = default;
Optimizer::~Optimizer() = default;

Optimizer make_optimizer(const std::string& spec, const std::vector<ParameterGroup>& groups) {
  auto impl = std::make_unique<Optimizer::Impl>(resolve(spec));
  std::set<std::string> names;
  for (const ParameterGroup& group : groups) {
    impl->rules.push_back(impl->spec.rule_of_group(group.options));
    for (Parameter* parameter : group.parameters) {
      check(names.insert(parameter->name).second,
            "optimizer: two parameters are named '{}'; state is kept by name", parameter->name);
      impl->add(*parameter, impl->rules.size() - 1);
    }
  }
  return Optimizer(std::move(impl));
}

StepReport Optimizer::step(const StepOptions& options) {
  check(options.clip_norm >= 0, "optimizer: clip_norm is {}; it must be at least 0, which is off",
        options.clip_norm);
  check(options.lr_factor >= 0 && std::isfinite(options.lr_factor) &&
            std::isfinite(options.gradient_scale),
        "optimizer: lr_factor is {}, gradient_scale {}; the first must be at least 0, both finite",
        options.lr_factor, options.gradient_scale);
  check(options.clip_value >= 0, "optimizer: clip_value is {}; it must be at least 0, which is off",
        options.clip_value);
  Impl& impl = *impl_;
  // Views check every gradient, before anything changes.
  std::vector<std::vector<StepView>> groups(impl.rules.size());
  std::vector<Impl::Entry*> active;
  std::vector<Parameter*> parameters;
  for (Impl::Entry& entry : impl.entries) {
    if (!entry.parameter->trainable || !entry.parameter->gradient) continue;
    groups[entry.group].push_back(impl.view(entry, options));
    active.push_back(&entry);
    parameters.push_back(entry.parameter);
  }
  StepReport report;
  double scale = options.gradient_scale;
  if (options.clip_norm > 0 || options.measure_norm || options.skip_non_finite) {
    const double norm = global_norm(parameters, Norm::l2, options.gradient_scale);
    report.grad_norm = norm;
    if (options.skip_non_finite && !std::isfinite(norm)) {
      report.skipped = true;
      return report;
    }
    if (options.clip_norm > 0) {
      const double factor = clip_factor(norm, options.clip_norm);
      report.clipped = factor != 1;
      scale *= factor;
    }
  }
  for (std::size_t group = 0; group < groups.size(); ++group) {
    for (StepView& view : groups[group]) view.gradient_scale = static_cast<float>(scale);
    if (options.watch)
      for (StepView& view : groups[group])
        report.tensors.push_back(watched_step(*impl.rules[group], view, options.lr_factor));
    else
      impl.rules[group]->step(groups[group], options.lr_factor);
  }
  for (Impl::Entry* entry : active) ++impl.step_of(*entry);
  return report;
}

const std::string& Optimizer::name() const { return impl_->spec.name; }
const StatePlan& Optimizer::state() const { return impl_->plan; }

Json Optimizer::options() const {
  Json json;
  json["optimizer"] = name();
  json["storage"] = to_json(option_values(impl_->spec.storage));
  json["non_finite_guard"] = impl_->spec.guard();
  json["lazy_rows"] = impl_->spec.engine.lazy_rows;
  json["groups"] = Json::array();
  for (const auto& rule : impl_->rules)
    json["groups"].push_back({{"options", to_json(rule->options())}});
  for (Json& group : json["groups"]) group["parameters"] = Json::array();
  for (const Impl::Entry& entry : impl_->entries)
    json["groups"][entry.group]["parameters"].push_back(entry.parameter->name);
  return json;
}

bool Optimizer::takes_schedule() const {
  for (const auto& rule : impl_->rules)
    if (rule->takes_schedule()) return true;
  return false;
}

Tensor Optimizer::values(const PlannedSlot& slot) const {
  const std::size_t index = impl_->index_of(slot);
  const StoredSlot& stored = impl_->memory[index];
  const PlannedSlot& planned = state().slots[index];
  if (planned.storage == Storage::i32) return stored.values.to(DType::f32);
  return read_slot(stored.view(planned), planned.shape);
}

void Optimizer::set_values(const PlannedSlot& slot, const Tensor& values) {
  const std::size_t index = impl_->index_of(slot);
  StoredSlot& stored = impl_->memory[index];
  const PlannedSlot& planned = state().slots[index];
  check(values.shape() == planned.shape, "optimizer state: '{}' is {}, the values given are {}",
        slot.key(), planned.shape, values.shape());
  if (planned.storage == Storage::i32)
    stored.values.copy_from(values.to(DType::i32));
  else
    write_slot(stored.view(planned), values.to(DType::f32));
}

std::vector<NamedTensor> Optimizer::tensors() const {
  std::vector<NamedTensor> result;
  for (std::size_t s = 0; s < impl_->memory.size(); ++s) {
    const std::string key = state().slots[s].key();
    const StoredSlot& stored = impl_->memory[s];
    if (stored.absmax.defined()) {
      result.push_back({key + ".codes", stored.values});
      result.push_back({key + ".absmax", stored.absmax});
    } else {
      result.push_back({key, stored.values});
    }
  }
  return result;
}

void Optimizer::assign(const std::map<std::string, Tensor>& tensors,
                       const std::vector<std::string>& not_stepped) {
  std::map<std::string, Tensor> own;
  for (const auto& [name, tensor] : this->tensors()) own.emplace(name, tensor);
  std::string faults;
  const auto describe = [](const Tensor& x) {
    return fmt::format("{} {}", dtype_name(x.dtype()), x.shape());
  };
  for (const auto& [name, tensor] : own) {
    const auto found = tensors.find(name);
    if (found == tensors.end())
      faults += fmt::format("\n  missing: {} ({})", name, describe(tensor));
    else if (found->second.shape() != tensor.shape() || found->second.dtype() != tensor.dtype())
      faults += fmt::format("\n  other: {} is {} there, {} here", name, describe(found->second),
                            describe(tensor));
  }
  for (const auto& [name, tensor] : tensors)
    if (!own.contains(name)) faults += fmt::format("\n  too many: {} ({})", name, describe(tensor));
  check(faults.empty(),
        "optimizer state: it belongs to another model, optimizer or storage than this {}:{}",
        this->name(), faults);
  for (const auto& [name, tensor] : own) {
    Tensor target = tensor;
    target.copy_from(tensors.at(name));
  }
  for (Impl::Entry& entry : impl_->entries)
    entry.own_step = std::ranges::count(not_stepped, entry.parameter->name) == 0;
}

std::vector<std::string> Optimizer::not_stepped() const {
  std::vector<std::string> names;
  for (const Impl::Entry& entry : impl_->entries)
    if (!impl_->keeps_step() && entry.own_step == 0) names.push_back(entry.parameter->name);
  return names;
}

std::vector<ParameterShape> Optimizer::parameters() const {
  std::vector<ParameterShape> result;
  for (const Impl::Entry& entry : impl_->entries)
    result.push_back({entry.parameter->name, entry.parameter->value.shape()});
  return result;
}

}  // namespace minima

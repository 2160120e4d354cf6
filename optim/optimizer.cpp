#include "optim/optimizer.hpp"

#include <algorithm>
#include <set>

#include "core/cuda/note_outside.hpp"
#include "core/on_device.hpp"
#include "core/ops/elementwise.hpp"
#include "core/ops/together.hpp"
#include "core/stopwatch.hpp"
#include "core/text/utf8.hpp"
#include "optim/clip.hpp"
#include "optim/registry.hpp"
#include "optim/storage/slot.hpp"

namespace minima {
namespace {

void check_rows(Cpu, const std::string& name, const Gradient& rows, i64 count) {
  const auto ids = rows.ids().span<i64>();
  for (std::size_t i = 0; i < ids.size(); ++i)
    check(
        ids[i] >= 0 && ids[i] < count && (i == 0 || ids[i - 1] < ids[i]),
        "optimizer: the gradient of '{}' has row {} at place {}; rows must ascend and be below {}",
        name, ids[i], i, count);
}
template <AnyGpu Gpu>
void check_rows(Gpu gpu, const std::string&, const Gradient& rows, i64 count) {
  note_outside(gpu, "optimizer: a gradient's row", rows.ids().size(), rows.ids().data<i64>(), count,
               rows.table_rows());
}

GradientView gradient_view(const Parameter& parameter) {
  const Gradient& gradient = parameter.gradient;
  const Shape &shape = parameter.value.shape(), &given = gradient.values().shape();
  GradientView view;
  ops::check_together("optimizer", parameter.value, gradient.values(), gradient.ids());
  view.values = float_view(gradient.values(), "gradient", parameter.name);
  check(gradient.fits(shape), "optimizer: the gradient of '{}' is {}{}, its value {}",
        parameter.name, gradient.ids().defined() ? "rows of " : "", given, shape);
  if (gradient.kind() == Gradient::Kind::dense) return view;
  on_device(parameter.value.device(),
            [&](auto device) { check_rows(device, parameter.name, gradient, shape[0]); });
  view.ids = gradient.ids().data<i64>();
  view.count = gradient.ids().size();
  view.width = shape[0] ? shape.size() / shape[0] : 0;
  return view;
}

/// The root mean square of `size` values of which x holds those that are not zero.
double root_mean_square(const Tensor& x, i64 size) {
  const NormPart all{float_view(x, "values", ""), x.size()};
  return size ? norm_of(x.device(), {&all, 1}) / std::sqrt(static_cast<double>(size)) : 0;
}

/// A step of one parameter, with what it did. `step` makes it.
template <class Step>
TensorReport watched_step(const AnyRule& rule, StepView& view, double scale, double lr_factor,
                          const Step& step) {
  Probe own;
  if (!view.probe) view.probe = &own;
  const Parameter& parameter = *view.parameter;
  const i64 size = view.shape.size();
  TensorReport report{parameter.name, 0, 0, 0, std::nan(""), false};
  report.gradient_rms = root_mean_square(parameter.gradient.values(), size) * std::abs(scale);
  report.weight_rms = root_mean_square(parameter.value, size);
  const Tensor before = parameter.value.clone().to(DType::f32);
  step();
  report.update_rms =
      root_mean_square(ops::binary<ops::Sub>(parameter.value.to(DType::f32), before), size);
  const Note *const alpha = view.probe->find("α"), *const clip = view.probe->find("clip");
  if (alpha)
    report.step_size = alpha->value;
  else if (const std::optional<double> lr = rule.lr())
    report.step_size = *lr * lr_factor;
  report.update_clipped = clip && clip->value > 1;
  return report;
}

void take(const Outcome& outcome, bool measured, bool has_loss, StepReport& report) {
  if (measured) report.grad_norm = outcome.norm;
  if (has_loss) report.loss = outcome.loss;
  report.clipped = outcome.clipped, report.skipped = outcome.skipped;
  report.bad_weights = outcome.bad_weights != 0;
}

/// Throws Error for options out of range.
void check_step(const StepOptions& options, Device device) {
  for (const auto& [name, value] :
       {std::pair{"clip_norm", options.clip_norm}, {"clip_value", options.clip_value}}) {
    check(value >= 0, "optimizer: {} is {}; it must be at least 0, which is off", name, value);
    if (std::isfinite(value)) check_float("optimizer", name, value, nonnegative);
  }
  check_float("optimizer", "gradient_scale", options.gradient_scale, any_number);
  check(options.lr_factor >= 0 && std::isfinite(options.lr_factor),
        "optimizer: lr_factor is {}; it must be at least 0 and finite", options.lr_factor);
  if (const Tensor& loss = options.loss; loss.defined())
    check(loss.size() == 1 && loss.device() != Device{} && loss.device() == device,
          "optimizer: the loss is {} on {}, the parameters are on {}; it must be one number, and "
          "both on one GPU",
          loss.shape(), to_string(loss.device()), to_string(device));
  if (!options.probe) return;
  check(device == Device{},
        "optimizer: a probe looks on where it computes, on the cpu; the parameters lie on {}",
        to_string(device));
  if (options.probed)
    check(options.probe->element < options.probed->value.size(),
          "optimizer: a probe looks at element {} of '{}', which is {}", options.probe->element,
          options.probed->name, options.probed->value.shape());
}

/// What a step changes by one rule.
struct Group {
  const AnyRule* rule;
  std::vector<StepView> views;
};

/// Calls step(views) for all, or, where they are watched, for each.
template <class Step>
void step_views(Group& group, const StepOptions& options, double scale, StepReport& report,
                const Step& step) {
  if (!options.watch) return step(std::span(group.views));
  const Stopwatch all;
  double stepping = 0;
  for (StepView& view : group.views)
    report.tensors.push_back(watched_step(*group.rule, view, scale, options.lr_factor, [&] {
      const Stopwatch clock;
      step(std::span(&view, 1));
      stepping += clock.seconds();
    }));
  report.watch_seconds += all.seconds() - stepping;
}

Json to_json(const OptionValues& options) {
  Json json = Json::object();
  for (const auto& [name, value] : options)
    json[name] = std::visit([](const auto& each) { return Json(each); }, value);
  return json;
}

void check_steps(const PlannedSlot& slot, const Tensor& there) {
  const i64 steps = there.to(Device{}).data<i32>()[0];
  check(steps >= 0, "optimizer state: {} is {}; it counts steps", slot.key(), steps);
}

}  // namespace

struct Optimizer::Impl {
  struct Entry {
    Parameter* parameter;
    Shape shape;                                ///< the value's, which the state was made for
    std::size_t group, first_slot, slot_count;  ///< in `memory` and `plan`; without `step`
    std::vector<u8> zero_slots = {};            ///< of StepView; empty: nothing is known
  };

  explicit Impl(OptimizerSpec resolved) : spec(std::move(resolved)) {}

  OptimizerSpec spec;
  std::vector<std::unique_ptr<AnyRule>> rules;  ///< of each group
  std::vector<Entry> entries;
  StatePlan plan;
  std::vector<StoredSlot> memory;  ///< of each planned slot
  Device device;

  void add(Parameter& parameter, std::size_t group) {
    check(parameter.value.defined(), "optimizer: '{}' has no value yet", parameter.name);
    float_view(parameter.value, "value", parameter.name);  // refuses other types
    const Shape shape = parameter.value.shape();
    std::vector<PlannedSlot> slots =
        plan_slots({parameter.name, shape}, *rules[group], spec.storage);
    entries.push_back({&parameter, shape, group, plan.slots.size(),
                       slots.size() - (rules[group]->keeps_step() ? 1 : 0)});
    check(entries.back().slot_count <= kMaxSlots, "{}: {} slots; the engine takes {}", spec.name,
          entries.back().slot_count, kMaxSlots);
    if (entries.size() == 1) device = parameter.value.device();
    check(parameter.value.device() == device,
          "optimizer: '{}' lies on {}, '{}' on {}; the parameters of one must lie together",
          entries.front().parameter->name, to_string(device), parameter.name,
          to_string(parameter.value.device()));
    for (PlannedSlot& slot : slots) {
      memory.push_back(StoredSlot::make(slot, device));
      plan.slots.push_back(std::move(slot));
    }
  }

  StepView view(std::size_t index, const StepOptions& options) {
    Entry& entry = entries[index];
    Parameter& parameter = *entry.parameter;
    check(
        parameter.value.device() == device,
        "optimizer: '{}' lies on {}, its state on {}; bring a model to its device first, then make "
        "the optimizer",
        parameter.name, to_string(parameter.value.device()), to_string(device));
    check(parameter.value.shape() == entry.shape,
          "optimizer: '{}' is {}, its state was made for {}; make the optimizer anew",
          parameter.name, parameter.value.shape(), entry.shape);
    StepView view;
    view.parameter = &parameter;
    view.shape = entry.shape;
    view.matrix = MatrixShape(view.shape);
    view.value = float_view(parameter.value, "value", parameter.name);
    view.gradient = gradient_view(parameter);
    for (std::size_t k = 0; k < entry.slot_count; ++k) {
      const PlannedSlot& planned = plan.slots[entry.first_slot + k];
      StoredSlot& stored = memory[entry.first_slot + k];
      if (!planned.dense) {
        view.means[view.mean_count] = stored.values.data<float>();
        view.mean_sizes[view.mean_count++] = stored.values.size();
      } else {
        view.slots[view.slot_count] = stored.view(planned);
        view.slots[view.slot_count++].letter = planned.letter;
      }
    }
    if (rules[entry.group]->keeps_step()) {
      view.step = memory[entry.first_slot + entry.slot_count].values.data<i32>();
      if (device == Device{}) view.t = *view.step + 1;
    }
    view.clip_value = static_cast<float>(options.clip_value);
    view.guard = spec.guard();
    view.lazy_rows = spec.engine.lazy_rows;
    view.probe = options.probed == &parameter ? options.probe : nullptr;
    if (device == Device{} && view.slot_count > 0 && !view.skips_rows()) {
      const i64 unit = view.unit();
      entry.zero_slots.resize(static_cast<std::size_t>(ceil_div(view.shape.size(), unit)));
      view.zero_slots = entry.zero_slots.data();
    } else {
      entry.zero_slots.clear();  // of what is moved nothing is noted
    }
    return view;
  }

  /// What a step with these options changes. Checks every gradient, before anything changes.
  std::vector<Group> groups(const StepOptions& options) {
    std::vector<Group> result;
    for (const auto& rule : rules) result.push_back({rule.get(), {}});
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Parameter* const parameter = entries[i].parameter;
      if (!parameter->trainable || !parameter->gradient) continue;
      if (options.only && !std::ranges::count(*options.only, parameter)) continue;
      result[entries[i].group].views.push_back(view(i, options));
    }
    return result;
  }

  /// Before somebody else may write to the state.
  void forget_zeros() {
    for (Entry& entry : entries) entry.zero_slots.clear();
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

Optimizer::Impl& Optimizer::impl() const {
  check(impl_ != nullptr, "optimizer: it was moved from; another object has its state now");
  return *impl_;
}

Optimizer make_optimizer(const std::string& spec, const std::vector<ParameterGroup>& groups) {
  auto impl = std::make_unique<Optimizer::Impl>(resolve(spec));
  std::set<std::string> names;
  // Patterns in the groups' options, each with the parameters of all groups that have it; those of the spec are for all
  // groups together.
  const OptionList of_all = impl->spec.rule->chosen_patterns();
  std::map<OptionList::value_type, std::vector<std::string>> chosen;
  for (const ParameterGroup& group : groups) {
    impl->rules.push_back(impl->spec.rule_of_group(group.options));
    for (Parameter* parameter : group.parameters) {
      check(parameter != nullptr, "optimizer: a parameter is null");
      check(find_invalid_utf8(parameter->name) == std::string::npos,
            "optimizer: the name '{}' of a parameter is not valid UTF-8", shown(parameter->name));
      check(names.insert(parameter->name).second,
            "optimizer: two parameters are named '{}'; state is kept by name", parameter->name);
      impl->add(*parameter, impl->rules.size() - 1);
    }
    for (const auto& pattern : impl->rules.back()->chosen_patterns())
      if (!std::ranges::count(of_all, pattern))
        std::ranges::transform(group.parameters, std::back_inserter(chosen[pattern]),
                               &Parameter::name);
  }
  for (const auto& [pattern, own] : chosen)
    check_patterns(impl->spec.name + ", among a group's parameters", {pattern}, own);
  if (!impl->entries.empty())
    check_patterns(impl->spec.name, impl->plan, *impl->spec.rule, impl->spec.storage);
  return Optimizer(std::move(impl));
}

StepReport Optimizer::step(const StepOptions& options) {
  Impl& impl = this->impl();
  check_step(options, impl.device);
  std::vector<Group> groups = impl.groups(options);
  StepReport report;
  report.measured_ = options.clip_norm > 0 || options.measure_norm || options.skip_non_finite;
  report.has_loss_ = options.loss.defined();
  std::vector<NormPart> measured;
  if (report.measured_)
    for (const Group& group : groups)
      for (const StepView& view : group.views)
        measured.push_back({view.gradient.values, view.parameter->gradient.values().size()});
  on_device(impl.device, [&]<class Where>(Where where) {
    Outcome here, *outcome = &here;
    if constexpr (AnyGpu<Where>) {
      report.outcome_ = Tensor::empty({sizeof(Outcome)}, DType::u8, impl.device);
      outcome = reinterpret_cast<Outcome*>(report.outcome_.raw());
    }
    measure(where, measured, Norm::l2,
            {options.gradient_scale, options.clip_norm, options.skip_non_finite,
             report.has_loss_ ? options.loss.data<double>() : nullptr},
            outcome);
    if (report.outcome_.defined() && options.watch) here = read_outcome(report.outcome_);
    if (!here.skipped)
      for (Group& group : groups)
        step_views(group, options, here.scale, report, [&](std::span<StepView> views) {
          if (!views.empty()) minima::step(where, *group.rule, views, options.lr_factor, outcome);
        });
    if (!report.outcome_.defined()) take(here, report.measured_, report.has_loss_, report);
  });
  return report;
}

StepReport& StepReport::read() {
  if (outcome_.defined())
    take(read_outcome(std::exchange(outcome_, {})), measured_, has_loss_, *this);
  return *this;
}

const std::string& Optimizer::name() const { return impl().spec.name; }
const StatePlan& Optimizer::state() const { return impl().plan; }

Json Optimizer::options() const {
  Json json;
  json["optimizer"] = name();
  json["storage"] = to_json(option_values(impl().spec.storage));
  json["non_finite_guard"] = impl().spec.guard();
  json["lazy_rows"] = impl().spec.engine.lazy_rows;
  json["groups"] = Json::array();
  for (const auto& rule : impl().rules)
    json["groups"].push_back(
        {{"options", to_json(rule->options())}, {"parameters", Json::array()}});
  for (const Impl::Entry& entry : impl().entries)
    json["groups"][entry.group]["parameters"].push_back(entry.parameter->name);
  return json;
}

bool Optimizer::takes_schedule() const {
  return std::ranges::any_of(impl().rules, [](const auto& rule) { return rule->lr().has_value(); });
}

Tensor Optimizer::values(const PlannedSlot& slot) const {
  const std::size_t index = impl().index_of(slot);
  const StoredSlot stored = impl().memory[index].to(Device{});
  const PlannedSlot& planned = state().slots[index];
  if (planned.storage == Storage::i32) return stored.values.to(DType::f32);
  return read_slot(stored.view(planned), planned.shape);
}

void Optimizer::set_values(const PlannedSlot& slot, const Tensor& values) {
  impl().forget_zeros();
  const std::size_t index = impl().index_of(slot);
  StoredSlot& stored = impl().memory[index];
  const PlannedSlot& planned = state().slots[index];
  check(values.shape() == planned.shape, "optimizer state: '{}' is {}, the values given are {}",
        slot.key(), planned.shape, values.shape());
  if (planned.storage == Storage::i32) {
    const Tensor steps = values.to(DType::i32);
    check_steps(slot, steps);
    return stored.values.copy_from(steps);
  }
  StoredSlot here = stored.to(Device{});
  write_slot(here.view(planned), values.to(Device{}).to(DType::f32));
  if (impl().device == Device{}) return;
  stored.values.copy_from(here.values);
  if (stored.absmax.defined()) stored.absmax.copy_from(here.absmax);
}

std::vector<NamedTensor> Optimizer::tensors() const {
  impl().forget_zeros();
  std::vector<NamedTensor> result;
  for (std::size_t s = 0; s < impl().memory.size(); ++s) {
    const std::string key = state().slots[s].key();
    const StoredSlot& stored = impl().memory[s];
    if (stored.absmax.defined()) {
      result.push_back({key + ".codes", stored.values});
      result.push_back({key + ".absmax", stored.absmax});
    } else {
      result.push_back({key, stored.values});
    }
  }
  return result;
}

void Optimizer::assign(const std::map<std::string, Tensor>& tensors) {
  std::map<std::string, Tensor> own = by_name(this->tensors());
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
  for (const PlannedSlot& slot : state().slots)
    if (slot.storage == Storage::i32) check_steps(slot, tensors.at(slot.key()));
  for (auto& [name, tensor] : own) tensor.copy_from(tensors.at(name));
}

std::vector<ParameterShape> Optimizer::parameters() const {
  std::vector<ParameterShape> result;
  for (const Impl::Entry& entry : impl().entries)
    result.push_back({entry.parameter->name, entry.parameter->value.shape()});
  return result;
}

}  // namespace minima

#include "optim/optimizer.hpp"

#include <xxhash.h>

#include <set>

#include "optim/clip.hpp"
#include "optim/registry.hpp"

namespace minima {
namespace {

constexpr const char* kFormat = "minima-optimizer-1";

/// Memory for one planned slot, zero.
struct SlotMemory {
  Tensor values;  ///< floats, bf16 or codes
  Tensor absmax;  ///< block8
  SlotView view;
};

SlotMemory allocate_slot(const PlannedSlot& planned) {
  SlotMemory memory;
  memory.view.storage = planned.storage;
  if (planned.storage == Storage::block8) {
    // Codes 0 under absmax 0 are zeros, of the sign that they have in the public implementation.
    memory.values = Tensor::zeros(planned.shape, DType::u8);
    memory.absmax = Tensor::zeros({planned.scales()});
    memory.view.absmax = memory.absmax.data<float>();
    memory.view.block_size = planned.block_size;
    memory.view.map = planned.sign == Sign::any ? &signed_code_map() : &unsigned_code_map();
  } else {
    memory.values =
        Tensor::zeros(planned.shape, planned.storage == Storage::bf16 ? DType::bf16 : DType::f32);
  }
  memory.view.values = memory.values.raw();
  return memory;
}

/// A tensor of floats as a kernel sees it. Throws Error, naming what it is, for other types.
SlotView float_view(const Tensor& tensor, std::string_view what, const std::string& name) {
  check(tensor.dtype() == DType::f32 || tensor.dtype() == DType::bf16,
        "optimizer: the {} of '{}' is {}; it must be f32 or bf16", what, name,
        dtype_name(tensor.dtype()));
  SlotView view;
  view.storage = tensor.dtype() == DType::bf16 ? Storage::bf16 : Storage::fp32;
  view.values = const_cast<std::byte*>(tensor.raw());
  return view;
}

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

/// Of the metadata and of all tensors, in the order of their names.
std::string checksum(const std::map<std::string, Tensor>& tensors, const std::string& metadata) {
  XXH3_state_t* const state = XXH3_createState();
  XXH3_128bits_reset(state);
  XXH3_128bits_update(state, metadata.data(), metadata.size());
  for (const auto& [name, tensor] : tensors) {
    XXH3_128bits_update(state, name.data(), name.size());
    XXH3_128bits_update(state, tensor.raw(), static_cast<std::size_t>(tensor.bytes()));
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state);
  XXH3_freeState(state);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::map<std::string, Tensor> by_name(const std::vector<NamedTensor>& tensors) {
  std::map<std::string, Tensor> result;
  for (const auto& [name, tensor] : tensors) result.emplace(name, tensor);
  return result;
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
  const auto copy = [](const SlotView& from, i64 size) {
    Tensor result = Tensor::empty({size});
    float* const to = result.data<float>();
    const float* const values = open(from, 0, size, to);
    if (values != to) std::copy(values, values + size, to);
    return result;
  };
  const i64 size = view.shape.size();
  const i64 given = view.gradient.ids ? view.gradient.count * view.gradient.width : size;
  TensorReport report{std::string(view.name), 0, 0, 0, 0, false};
  report.gradient_rms = root_mean_square(copy(view.gradient.values, given), size) *
                        std::abs(static_cast<double>(view.gradient_scale));
  Tensor change = copy(view.value, size);
  report.weight_rms = root_mean_square(change, size);
  rule.step(std::span(&view, 1), lr_factor);
  float unused;
  float* const before = change.data<float>();
  for (i64 i = 0; i < size; ++i) before[i] -= *open(view.value, i, 1, &unused);
  report.update_rms = root_mean_square(change, size);
  const Note *const alpha = view.probe->find("α"), *const clip = view.probe->find("clip");
  report.step_size = alpha ? alpha->value : rule.options().at("lr").get<double>() * lr_factor;
  report.update_clipped = clip && clip->value > 1;
  return report;
}

}  // namespace

struct Optimizer::Impl {
  struct Entry {
    Parameter* parameter;
    std::size_t group;
    std::size_t first_slot, slot_count;  ///< in `memory` and `plan`; `step` is not among them
  };

  explicit Impl(OptimizerSpec resolved) : spec(std::move(resolved)) {}

  OptimizerSpec spec;
  std::vector<std::unique_ptr<AnyRule>> rules;  ///< of each group
  std::vector<Entry> entries;
  std::vector<Parameter*> parameters;  ///< of all entries
  StatePlan plan;
  std::vector<SlotMemory> memory;  ///< of each planned slot; of `step` nothing
  Tensor step_state;               ///< [entries], where the rule keeps its step in its state
  std::vector<i32> step_count;     ///< where it does not: only the first step is told apart

  std::span<i32> steps() {
    if (step_state.defined()) return step_state.span<i32>();
    return step_count;
  }

  void add(Parameter& parameter, std::size_t group) {
    const AnyRule& rule = *rules[group];
    std::vector<PlannedSlot> slots =
        plan_slots({parameter.name, parameter.value.shape()}, rule, spec.storage);
    const Entry entry{&parameter, group, plan.slots.size(),
                      slots.size() - (rule.keeps_step() ? 1 : 0)};
    check(entry.slot_count <= std::tuple_size_v<decltype(StepView::slots)>,
          "{}: {} slots; the engine takes {}", spec.name, entry.slot_count,
          std::tuple_size_v<decltype(StepView::slots)>);
    for (PlannedSlot& slot : slots) {
      memory.push_back(slot.storage == Storage::i32 ? SlotMemory{} : allocate_slot(slot));
      plan.slots.push_back(std::move(slot));
    }
    entries.push_back(entry);
    parameters.push_back(&parameter);
  }

  /// Every parameter that has a gradient, by group.
  std::vector<std::vector<StepView>> views(const StepOptions& options) {
    std::vector<std::vector<StepView>> result(rules.size());
    for (std::size_t e = 0; e < entries.size(); ++e) {
      const Entry& entry = entries[e];
      if (!active(*entry.parameter)) continue;
      StepView view;
      view.name = entry.parameter->name;
      view.shape = entry.parameter->value.shape();
      view.value = float_view(entry.parameter->value, "value", entry.parameter->name);
      view.gradient = gradient_view(*entry.parameter);
      for (std::size_t k = 0; k < entry.slot_count; ++k) {
        view.slots[k] = memory[entry.first_slot + k].view;
        view.slots[k].name = plan.slots[entry.first_slot + k].slot;
        view.slots[k].letter = plan.slots[entry.first_slot + k].letter;
      }
      view.slot_count = static_cast<int>(entry.slot_count);
      view.t = steps()[e] + 1;
      view.clip_value = static_cast<float>(options.clip_value);
      view.guard = spec.guard();
      view.lazy_rows = spec.engine.lazy_rows;
      view.probe = options.probed == entry.parameter ? options.probe : nullptr;
      result[entry.group].push_back(view);
    }
    return result;
  }

  static bool active(const Parameter& parameter) {
    return parameter.trainable && parameter.gradient;
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
  const i64 count = static_cast<i64>(impl->entries.size());
  if (impl->spec.rule->keeps_step())
    impl->step_state = Tensor::zeros({count}, DType::i32);
  else
    impl->step_count.assign(static_cast<std::size_t>(count), 0);
  return Optimizer(std::move(impl));
}

std::vector<ParameterGroup> decay_groups(const std::vector<Parameter*>& parameters) {
  ParameterGroup decayed, plain{{}, "weight_decay=0"};
  for (Parameter* parameter : parameters)
    (parameter->name.ends_with("bias") || matches(parameter->name, "layer_norm|LayerNorm")
         ? plain
         : decayed)
        .parameters.push_back(parameter);
  std::vector<ParameterGroup> groups;
  for (ParameterGroup* group : {&decayed, &plain})
    if (!group->parameters.empty()) groups.push_back(std::move(*group));
  return groups;
}

std::vector<ParameterGroup> decay_groups(const std::vector<Parameter*>& parameters,
                                         const std::string& spec) {
  if (std::ranges::count(resolve(spec).rule->option_names(), "weight_decay") == 0)
    return {{parameters, ""}};
  return decay_groups(parameters);
}

GroupPattern GroupPattern::parse(const std::string& text) {
  const std::size_t colon = text.find(':');
  check(colon != std::string::npos && colon > 0 && colon + 1 < text.size(),
        "group '{}': it must be a pattern and options, such as embeddings|bias:lr=1e-5", text);
  GroupPattern group{text.substr(0, colon), text.substr(colon + 1)};
  parse_options(group.options);
  return group;
}

std::vector<ParameterGroup> group_by_pattern(const std::vector<ParameterGroup>& groups,
                                             const std::vector<GroupPattern>& patterns) {
  const auto merged = [](const std::string& base, const std::string& over) {
    OptionList list = parse_options(over);
    for (const auto& option : parse_options(base))
      if (std::ranges::count(list, option.first, &OptionList::value_type::first) == 0)
        list.push_back(option);
    std::string text;
    for (const auto& [name, value] : list)
      text += fmt::format("{}{}={}", text.empty() ? "" : ":", name, value);
    return text;
  };
  std::vector<ParameterGroup> result;
  std::vector<bool> used(patterns.size(), false);
  for (const ParameterGroup& group : groups) {
    std::vector<ParameterGroup> parts(patterns.size() + 1);  // the last: what matches none
    for (std::size_t k = 0; k < patterns.size(); ++k)
      parts[k].options = merged(group.options, patterns[k].options);
    parts.back().options = group.options;
    for (Parameter* parameter : group.parameters) {
      const auto found = std::ranges::find_if(patterns, [&](const GroupPattern& pattern) {
        return matches(parameter->name, pattern.pattern);
      });
      const auto k = static_cast<std::size_t>(found - patterns.begin());
      if (k < used.size()) used[k] = true;
      parts[k].parameters.push_back(parameter);
    }
    for (ParameterGroup& part : parts)
      if (!part.parameters.empty()) result.push_back(std::move(part));
  }
  for (std::size_t k = 0; k < patterns.size(); ++k)
    check(used[k], "group '{}': no parameter is left that its pattern matches",
          patterns[k].pattern);
  return result;
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
  StepReport report;
  double scale = options.gradient_scale;
  // Views check every gradient, before anything changes.
  std::vector<std::vector<StepView>> groups = impl.views(options);
  if (options.clip_norm > 0 || options.measure_norm || options.skip_non_finite) {
    std::vector<Parameter*> active;
    for (Parameter* parameter : impl.parameters)
      if (Impl::active(*parameter)) active.push_back(parameter);
    const double norm = global_norm(active, Norm::l2, options.gradient_scale);
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
  for (std::size_t e = 0; e < impl.entries.size(); ++e)
    if (Impl::active(*impl.entries[e].parameter)) ++impl.steps()[e];
  return report;
}

const std::string& Optimizer::name() const { return impl_->spec.name; }
const StatePlan& Optimizer::state() const { return impl_->plan; }

Json Optimizer::options() const {
  Json json;
  json["optimizer"] = name();
  json["storage"] = options_json(impl_->spec.storage);
  json["non_finite_guard"] = impl_->spec.guard();
  json["lazy_rows"] = impl_->spec.engine.lazy_rows;
  json["groups"] = Json::array();
  for (const auto& rule : impl_->rules) json["groups"].push_back({{"options", rule->options()}});
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

/// Where a planned slot is among all of them.
static std::size_t index_of(const StatePlan& plan, const PlannedSlot& slot) {
  const auto found = std::ranges::find(plan.slots, slot.key(), &PlannedSlot::key);
  check(found != plan.slots.end(), "optimizer state: there is no '{}'", slot.key());
  return static_cast<std::size_t>(found - plan.slots.begin());
}

Tensor Optimizer::values(const PlannedSlot& slot) const {
  const std::size_t index = index_of(state(), slot);
  const PlannedSlot& planned = state().slots[index];
  if (planned.storage == Storage::i32) {
    const auto all = tensors();
    const auto found = std::ranges::find(all, slot.key(), &NamedTensor::name);
    return found->tensor.to(DType::f32);
  }
  const SlotView& view = impl_->memory[index].view;
  Tensor result = Tensor::empty(planned.shape);
  float* const to = result.data<float>();
  const float* from = detail::read(view, 0, result.size(), to);
  if (from != to) std::copy(from, from + result.size(), to);
  return result;
}

void Optimizer::set_values(const PlannedSlot& slot, const Tensor& values) {
  const std::size_t index = index_of(state(), slot);
  const PlannedSlot& planned = state().slots[index];
  check(values.shape() == planned.shape, "optimizer state: '{}' is {}, the values given are {}",
        slot.key(), planned.shape, values.shape());
  if (planned.storage == Storage::i32) {
    for (const NamedTensor& own : tensors())
      if (own.name == slot.key()) Tensor(own.tensor).fill(values.item());
    return;
  }
  const Tensor from = values.to(DType::f32);
  const SlotView& view = impl_->memory[index].view;
  const i64 stretch = stretch_of(std::array{view});
  alignas(64) float scratch[kLongestStretch];
  for (i64 at = 0; at < from.size(); at += stretch) {
    const i64 n = std::min(stretch, from.size() - at);
    float* const to = open(view, at, n, scratch);
    std::copy(from.data<float>() + at, from.data<float>() + at + n, to);
    close(view, at, n, to);
  }
}

std::vector<NamedTensor> Optimizer::tensors() const {
  std::vector<NamedTensor> result;
  i64 entry = 0;
  for (std::size_t s = 0; s < impl_->plan.slots.size(); ++s) {
    const PlannedSlot& planned = impl_->plan.slots[s];
    const SlotMemory& memory = impl_->memory[s];
    if (planned.storage == Storage::i32) {
      result.push_back({planned.key(), impl_->step_state.rows(entry, entry + 1).reshape(Shape{})});
      ++entry;
    } else if (planned.storage == Storage::block8) {
      result.push_back({planned.key() + ".codes", memory.values});
      result.push_back({planned.key() + ".absmax", memory.absmax});
    } else {
      result.push_back({planned.key(), memory.values});
    }
  }
  return result;
}

void Optimizer::assign(const std::map<std::string, Tensor>& tensors) {
  const std::map<std::string, Tensor> own = by_name(this->tensors());
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
  for (i32& steps : impl_->step_count) steps = 1;
}

std::vector<ParameterShape> Optimizer::parameters() const {
  std::vector<ParameterShape> result;
  for (const Parameter* parameter : impl_->parameters)
    result.push_back({parameter->name, parameter->value.shape()});
  return result;
}

/// All that decoding needs, so that `inspect` reads a state without its model.
static Json decoding(const StatePlan& plan) {
  Json slots = Json::object();
  for (const PlannedSlot& slot : plan.slots)
    slots[slot.key()] = {{"storage", storage_name(slot.storage)},
                         {"sign", slot.sign == Sign::any ? "any" : "nonnegative"},
                         {"block_size", slot.block_size}};
  return slots;
}

void Optimizer::save(const std::filesystem::path& path) const {
  const std::vector<NamedTensor> all = tensors();
  Json options = this->options();
  options["slots"] = decoding(state());
  // A rule that keeps no step: the file says which parameters have had none.
  options["not_stepped"] = Json::array();
  for (std::size_t e = 0; e < impl_->step_count.size(); ++e)
    if (impl_->step_count[e] == 0)
      options["not_stepped"].push_back(impl_->entries[e].parameter->name);
  save_safetensors(path, all,
                   {{"format", kFormat},
                    {"optimizer", name()},
                    {"options", options.dump()},
                    {"checksum", checksum(by_name(all), name() + options.dump())}});
}

SavedState read_state(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const auto metadata = [&](const std::string& key) {
    const auto found = file.metadata().find(key);
    check(found != file.metadata().end(), "{}: not an optimizer's state: its metadata has no '{}'",
          path.string(), key);
    return found->second;
  };
  check(metadata("format") == kFormat,
        "{}: not an optimizer's state: its format is '{}'; this program reads '{}'", path.string(),
        metadata("format"), kFormat);
  SavedState state{metadata("optimizer"), {}, {}};
  for (const auto& [name, entry] : file.entries()) state.tensors.emplace(name, file.read(name));
  check(
      checksum(state.tensors, metadata("optimizer") + metadata("options")) == metadata("checksum"),
      "{}: damaged: its checksum does not fit; use an earlier checkpoint", path.string());
  state.options = parse_json(metadata("options"), path.string());
  for (const auto& [key, type] :
       {std::pair{"not_stepped", Json::value_t::array}, std::pair{"slots", Json::value_t::object}})
    check(state.options.is_object() && state.options.contains(key) &&
              state.options[key].type() == type,
          "{}: damaged: its options lack '{}'; use an earlier checkpoint", path.string(), key);
  return state;
}

void Optimizer::load(const std::filesystem::path& path) {
  const SavedState state = read_state(path);
  check(state.optimizer == name(), "{}: the state of {}; this optimizer is {}", path.string(),
        state.optimizer, name());
  // Codes of other blocks can be as many as these. What else differs, `assign` names.
  const Json here = decoding(this->state()), &there = state.options["slots"];
  for (const auto& [key, slot] : here.items())
    if (const auto found = there.find(key); found != there.end() && *found != slot)
      check(
          found->value("storage", "") != slot["storage"],
          "{}: '{}' is stored as {} there, as {} here; make the optimizer with the file's storage",
          path.string(), key, found->dump(), slot.dump());
  assign(state.tensors);
  for (std::size_t e = 0; e < impl_->step_count.size(); ++e)
    for (const Json& name : state.options["not_stepped"])
      if (name == impl_->entries[e].parameter->name) impl_->step_count[e] = 0;
}

}  // namespace minima

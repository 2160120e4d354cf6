#include "nn/module.hpp"

#include <set>
#include <utility>

namespace minima::nn {

Parameter& Module::param(const std::string& name, const Shape& shape, Init init) {
  hold({std::make_unique<Parameter>(Parameter{name, Tensor::zeros(shape)}), init, nullptr});
  return *members_.back().parameter;
}

void Module::adopt(const std::string& name, std::unique_ptr<Module> module) {
  module->prepend(name);
  hold({nullptr, {}, std::move(module), !name.empty()});
}

void Module::hold(Member member) {
  std::set<std::string> parameters, modules, nameless;
  const auto check_name = [&](const Member& each) {
    if (each.parameter)
      check(parameters.insert(each.parameter->name).second,
            "module: two parameters are named '{}'; weights go by name", each.parameter->name);
    else if (each.named)
      check(modules.insert(each.module->path_).second,
            "module: two children are named '{}'; weights and dropout go by name",
            each.module->path_);
    else if (each.module->draws())
      check(nameless.insert(each.module->path_).second,
            "module: two children that draw have no name of their own below '{}', and dropout goes "
            "by name: give each one",
            each.module->path_);
  };
  for_each(check_name);
  check_name(member);
  if (member.module) member.module->for_each(check_name);
  members_.push_back(std::move(member));
}

void Module::for_each(const std::function<void(Member&)>& f) {
  for (Member& member : members_) {
    f(member);
    if (member.module) member.module->for_each(f);
  }
}

void Module::prepend(const std::string& prefix) {
  if (prefix.empty()) return;  // no level of its own
  path_ = path_.empty() ? prefix : prefix + "." + path_;
  for (Member& member : members_) {
    if (member.parameter) member.parameter->name = prefix + "." + member.parameter->name;
    if (member.module) member.module->prepend(prefix);
  }
}

namespace {

/// Whether its rows lie behind the other's in one memory.
bool follows(const Tensor& x, const Tensor& other) {
  return x.shares_storage(other) && x.rank() > 0 && other.rank() > 0 &&
         x.dtype() == other.dtype() && x.shape().inner() == other.shape().inner() &&
         x.raw() == other.raw() + other.bytes();
}

}  // namespace

std::vector<Parameter*> Module::parameters() {
  std::vector<Parameter*> all;
  for_each([&](const Member& member) {
    if (member.parameter) all.push_back(member.parameter.get());
  });
  return all;
}

void Module::to(Device device) {
  const std::vector<Parameter*> all = parameters();
  std::vector<Tensor> there(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (there[i].defined()) continue;
    // Rows that lie one behind the other, as those of attention's three products, do so there too.
    std::vector<std::size_t> together{i};
    std::vector<Tensor> values{all[i]->value};
    for (std::size_t j = i + 1; j < all.size(); ++j) {
      if (there[j].defined() || !follows(all[j]->value, values.back())) continue;
      together.push_back(j), values.push_back(all[j]->value);
    }
    const bool alone = together.size() == 1;
    there[i] =
        needing_memory([&] { return (alone ? values[0] : Tensor::stacked(values)).to(device); },
                       "the weight '{}'", all[i]->name);
    if (alone) continue;
    const Tensor moved = there[i];
    i64 row = 0;
    for (const std::size_t k : together) {
      const i64 end = row + all[k]->value.size(0);
      there[k] = moved.rows(std::exchange(row, end), end);
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i]->gradient.clear();
    all[i]->value = there[i];
  }
}

i64 Module::parameter_count() {
  i64 count = 0;
  for (const Parameter* parameter : parameters()) count += parameter->value.size();
  return count;
}

void Module::initialize(u64 seed, const std::function<bool(const Parameter&)>& which) {
  for_each([&](const Member& member) {
    if (member.parameter && (!which || which(*member.parameter)))
      member.init.fill(member.parameter->value, RandomSequence(seed, member.parameter->name));
  });
}

namespace {

struct Kind {
  Shape shape;
  std::optional<DType> dtype;
  std::string_view type;
};

void check_kinds(const std::vector<Parameter*>& parameters,
                 const std::map<std::string, Kind>& kinds, const std::string& prefix = {}) {
  std::string problems;
  for (const Parameter* parameter : parameters) {
    const auto found = kinds.find(parameter->name);
    if (found == kinds.end())
      problems += fmt::format("\n  '{}' {} is missing", parameter->name, parameter->value.shape());
    else if (found->second.shape != parameter->value.shape())
      problems += fmt::format("\n  '{}' is {} in the file, {} in the model", parameter->name,
                              found->second.shape, parameter->value.shape());
    else if (!found->second.dtype || !is_float(*found->second.dtype))
      problems += fmt::format("\n  '{}' is {}; weights are f64, f32, bf16 or f16", parameter->name,
                              found->second.type);
  }
  check(problems.empty(), "{}load_parameters: the tensors do not fit the model:{}", prefix,
        problems);
}

std::map<std::string, Kind> kinds_of(const SafetensorsFile& file) {
  std::map<std::string, Kind> kinds;
  for (const auto& [name, entry] : file.entries())
    kinds[name] = {entry.shape, entry.dtype, entry.type};
  return kinds;
}

/// Gives the parameters their tensors, and returns the names of those that none has.
std::vector<std::string> assign(const std::vector<Parameter*>& parameters,
                                const std::map<std::string, Tensor>& tensors,
                                std::map<std::string, Kind> kinds) {
  for (Parameter* parameter : parameters) {
    parameter->value.copy_from(tensors.at(parameter->name).to(parameter->value.dtype()));
    kinds.erase(parameter->name);
  }
  std::vector<std::string> unknown;
  for (const auto& [name, kind] : kinds) unknown.push_back(name);
  return unknown;
}

}  // namespace

std::vector<std::string> load_parameters(const std::vector<Parameter*>& parameters,
                                         const std::map<std::string, Tensor>& tensors) {
  std::map<std::string, Kind> kinds;
  for (const auto& [name, tensor] : tensors)
    kinds[name] = {tensor.shape(), tensor.dtype(), dtype_name(tensor.dtype())};
  check_kinds(parameters, kinds);
  return assign(parameters, tensors, kinds);
}

std::vector<NamedTensor> values_of(const std::vector<Parameter*>& parameters) {
  std::vector<NamedTensor> values;
  for (const Parameter* parameter : parameters)
    values.push_back({parameter->name, parameter->value});
  return values;
}

void save_parameters(const std::filesystem::path& file, const std::vector<Parameter*>& parameters) {
  save_safetensors(file, values_of(parameters), {{"format", "pt"}});
}

std::vector<std::string> load_parameters(const std::vector<Parameter*>& parameters,
                                         const std::filesystem::path& file) {
  const SafetensorsFile from(file);
  const std::map<std::string, Kind> kinds = kinds_of(from);
  check_kinds(parameters, kinds, file.string() + ": ");
  // All are read before the first is written: a file that was cut off since changes none.
  std::map<std::string, Tensor> tensors;
  for (const Parameter* parameter : parameters)
    tensors[parameter->name] = from.read(parameter->name);
  return assign(parameters, tensors, kinds);
}

void check_parameters(const std::vector<Parameter*>& parameters,
                      const std::filesystem::path& file) {
  check_kinds(parameters, kinds_of(SafetensorsFile(file)), file.string() + ": ");
}

}  // namespace minima::nn

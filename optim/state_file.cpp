/// optimizer.safetensors: how optimizer.hpp saves state and reads it.
#include "core/files/checksum.hpp"
#include "optim/optimizer.hpp"

namespace minima {
namespace {

constexpr const char* kFormat = "minima-optimizer-1";

/// Of the metadata and of all tensors, in the order of their names.
std::string checksum(const std::map<std::string, Tensor>& tensors, const std::string& metadata) {
  Checksum sum;
  sum.add(metadata);
  for (const auto& [name, tensor] : tensors) sum.add(name), sum.add(tensor.raw(), tensor.bytes());
  return sum.digits();
}

/// All that decoding needs, so that `inspect` reads a state without its model.
Json decoding(const StatePlan& plan) {
  Json slots = Json::object();
  for (const PlannedSlot& slot : plan.slots)
    slots[slot.key()] = {{"storage", storage_name(slot.storage)},
                         {"sign", slot.sign == Sign::any ? "any" : "nonnegative"},
                         {"block_size", slot.block_size}};
  return slots;
}

}  // namespace

void Optimizer::save(const std::filesystem::path& path) const {
  std::vector<NamedTensor> all = tensors();
  for (NamedTensor& slot : all) slot.tensor = slot.tensor.to(Device{});
  Json options = this->options();
  options["slots"] = decoding(state());
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
  check(state.options.is_object() && state.options.value("slots", Json()).is_object(),
        "{}: damaged: its options lack 'slots'; use an earlier checkpoint", path.string());
  return state;
}

void Optimizer::load(const std::filesystem::path& path) {
  const SavedState state = read_state(path);
  check(state.optimizer == name(), "{}: the state of {}; this optimizer is {}", path.string(),
        state.optimizer, name());
  // Blocks of another size can have as many codes, which `assign` would not see; it names whatever else differs.
  const Json here = decoding(this->state()), &there = state.options["slots"];
  for (const auto& [key, slot] : here.items())
    if (const auto found = there.find(key); found != there.end() && *found != slot)
      check(
          found->is_object() && found->contains("storage") &&
              slot["storage"] != (*found)["storage"],
          "{}: '{}' is stored as {} there, as {} here; make the optimizer with the file's storage",
          path.string(), key, found->dump(), slot.dump());
  try {
    assign(state.tensors);
  } catch (const Error& error) {
    if (error.fault != Fault::input) throw;
    fail("{}: {}", path.string(), error.what());
  }
}

}  // namespace minima

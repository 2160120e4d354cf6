/// Module: owns parameters and child modules, and gives each its name.
///
///     class FeedForward : public Module {
///      public:
///       FeedForward(i64 dim, i64 hidden, double deviation)  // of the initial weights
///           : lin1(child<Linear>("lin1", dim, hidden, deviation)),
///             lin2(child<Linear>("lin2", hidden, dim, deviation)) {}
///       Variable operator()(const Variable& x) const { return lin2(gelu(lin1(x))); }
///       Linear &lin1, &lin2;
///     };
///
/// A name is written once, where the member is made; the full path ("ffn.lin1.weight") follows from
/// where the module hangs, and is the name in the public checkpoints. Loading is a lookup. A child of the name "" is no level
/// of its own.
///
/// Weights are zero, those of layer norms too, until `initialize(seed)` draws them or load_parameters reads them.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/files/safetensors.hpp"
#include "core/parameter.hpp"
#include "nn/init.hpp"

namespace minima::nn {

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// From the root to here ("distilbert.transformer.layer.0"); empty for the root itself.
  const std::string& path() const { return path_; }

  /// All parameters, in the order in which they were declared; children in their place.
  std::vector<Parameter*> parameters();
  /// Brings every parameter to a device; gradients are dropped. Throws Error where it has no memory for all of them; then
  /// none has moved.
  void to(Device device);
  /// Number of elements of all parameters.
  i64 parameter_count();

  /// Gives every parameter, or those that `which` chooses, its initial value, drawn from (seed, its
  /// name): a new layer leaves the values of the others as they were. On the CPU: before to().
  void initialize(u64 seed, const std::function<bool(const Parameter&)>& which = {});

 protected:
  // Both throw Error where another parameter below this module has the full name already, or another module the path (that
  // of a child named "" counts only among modules that draw).
  Parameter& param(const std::string& name, const Shape& shape, Init init);

  template <class M, class... Args>
  M& child(const std::string& name, Args&&... args) {
    auto made = std::make_unique<M>(std::forward<Args>(args)...);
    M& module = *made;
    adopt(name, std::move(made));
    return module;
  }

 private:
  struct Member {  // a parameter or a child, in order of declaration
    std::unique_ptr<Parameter> parameter;
    Init init;
    std::unique_ptr<Module> module;
    bool named = true;  // else a child that is no level of its own
  };
  /// Whether it draws random numbers by its path, which then must be its alone.
  virtual bool draws() const { return false; }
  void adopt(const std::string& name, std::unique_ptr<Module> module);
  void hold(Member member);
  /// f(member) for all below, each before its own members.
  void for_each(const std::function<void(Member&)>& f);
  void prepend(const std::string& prefix);

  std::string path_;
  std::vector<Member> members_;
};

/// Copies tensors by name into the parameters. Throws Error that lists every name which is missing
/// in `tensors`, has another shape, or no floats; then nothing has changed. Names that the model does not know
/// are returned.
std::vector<std::string> load_parameters(const std::vector<Parameter*>& parameters,
                                         const std::map<std::string, Tensor>& tensors);

/// The parameters' names and values, as they are (no copies).
std::vector<NamedTensor> values_of(const std::vector<Parameter*>& parameters);

/// A module of your own as a safetensors file, which PyTorch reads too (for whole models with their configuration and tokenizer
/// see train/model_directory.hpp). These throw Error as save_safetensors, SafetensorsFile and load_parameters above do.
void save_parameters(const std::filesystem::path& file, const std::vector<Parameter*>& parameters);
std::vector<std::string> load_parameters(const std::vector<Parameter*>& parameters,
                                         const std::filesystem::path& file);
/// Throws Error where load_parameters would, and changes nothing.
void check_parameters(const std::vector<Parameter*>& parameters, const std::filesystem::path& file);

}  // namespace minima::nn

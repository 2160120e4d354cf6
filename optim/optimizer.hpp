/// Optimizer: changes parameters by their gradients, and owns the state that this needs.
///
///     Optimizer optimizer = make_optimizer("adamw:lr=5e-4", decay_groups(model.parameters()));
///     for (i64 k = 0; k < steps; ++k) {
///       …                                        // forward, backward: gradients are written
///       StepReport report = optimizer.step({.lr_factor = schedule.factor(k), .clip_norm = 1});
///       …                                        // clear the gradients
///     }
///     optimizer.save("optimizer.safetensors");
#pragma once

#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "optim/engine/traced.hpp"
#include "optim/groups.hpp"
#include "optim/storage/plan.hpp"

namespace minima {

struct StepOptions {
  /// Multiplies each group's lr; from a Schedule. Adafactor with relative_step makes its own step
  /// size and ignores it (Optimizer::takes_schedule).
  double lr_factor = 1;
  /// Gradients are scaled so that their global norm is at most this; 0: not clipped, and the norm
  /// is not measured.
  double clip_norm = 0;
  /// Each entry of a gradient, after scaling, is cut to ± this; 0: not cut.
  double clip_value = 0;
  /// Multiplies every gradient before anything else looks at it: 1/loss scale, 1/accumulated
  /// batches.
  double gradient_scale = 1;
  /// Measures the norm even without clipping.
  bool measure_norm = false;
  /// Measures the norm and, where it is inf or NaN, changes nothing: no weight, no state, no step
  /// count.
  bool skip_non_finite = false;
  /// This step's loss on a GPU, one number in f64 that the host has not read: with skip_non_finite, a loss that is inf or
  /// NaN changes nothing either.
  Tensor loss = {};
  /// Fills in StepReport::tensors: steps parameter by parameter and copies each before, which is slower and gives the same
  /// bits. Waits for a GPU.
  bool watch = false;
  /// Steps only these of the optimizer's parameters.
  std::optional<std::span<Parameter* const>> only = {};
  /// `probe` looks on while this parameter is changed; on the CPU only.
  const Parameter* probed = nullptr;
  Probe* probe = nullptr;
};

/// One parameter's part in a step.
struct TensorReport {
  std::string name;
  double gradient_rms;  ///< after scaling and clipping by the norm
  double weight_rms;    ///< before the step
  double update_rms;    ///< of the change
  double step_size;     ///< lr of this step; for Adafactor its α
  /// The rule cut the update by its own threshold (clip_threshold, d; not on a GPU).
  bool update_clipped;
};

struct StepReport {
  std::optional<double> grad_norm;  ///< after gradient_scale, before clipping; where measured
  bool clipped = false;
  bool skipped = false;
  std::optional<double> loss;         ///< that of the options
  bool bad_weights = false;           ///< a weight that the step moved is inf or NaN
  std::vector<TensorReport> tensors;  ///< of every parameter that was stepped; where watched
  double watch_seconds = 0;           ///< what watching took beside the step

  /// A step on a GPU returns before it is done; this waits for it and fills in what stands above `tensors`.
  StepReport& read();

 private:
  friend class Optimizer;
  Tensor outcome_;  ///< in a GPU's memory, until it has been read
  bool measured_ = false, has_loss_ = false;
};

class Optimizer {
 public:
  /// An optimizer that was moved from throws Error from every function until another is moved into it.
  Optimizer(Optimizer&&) noexcept;
  Optimizer& operator=(Optimizer&&) noexcept;
  ~Optimizer();

  /// One step for every parameter that has a gradient and is trainable; the others are skipped
  /// whole (no decay, and their own step count stays). Gradients are read, not changed. Throws
  /// Error for options out of range, for a gradient whose shape does not fit its parameter, and for a parameter that has
  /// moved to another device or got another shape; then nothing has changed. On a GPU nothing
  /// waits for it (see StepReport::read).
  StepReport step(const StepOptions& options = {});

  const std::string& name() const;  ///< as on the command line: "adamw8bit"
  /// Every option of every group, resolved: {"optimizer", "storage", "non_finite_guard", "lazy_rows", "groups": [{"options",
  /// "parameters"}]}.
  Json options() const;
  /// False when a learning-rate schedule has no effect: Adafactor with relative_step.
  bool takes_schedule() const;

  const StatePlan& state() const;  ///< parameter, slot, shape, storage, bytes, reason
  i64 state_elements() const { return state().elements(); }
  i64 state_bytes() const { return state().bytes(); }
  i64 scales() const { return state().scales(); }

  /// Name and shape of every parameter, in order.
  std::vector<ParameterShape> parameters() const;

  /// A slot's values as fp32, decoded; `step` as one number. Throws Error for a slot that is not in
  /// state().
  Tensor values(const PlannedSlot& slot) const;
  /// Stores values, encoded. Throws Error for another shape, and for a `step` below 0.
  void set_values(const PlannedSlot& slot, const Tensor& values);

  /// The state under its keys in a file: `<parameter>/<slot>`, in block8 `….codes` and `….absmax`,
  /// and `<parameter>/step`. Slots share their memory with the optimizer. To change them between steps, call this again
  /// each time, or assign(): the optimizer remembers which of them are zero, and these calls make it forget. Not for two
  /// threads at once.
  std::vector<NamedTensor> tensors() const;
  /// Takes over the values of `tensors`. Throws one Error that lists every name missing or too many
  /// and every other shape or type; then nothing has changed.
  void assign(const std::map<std::string, Tensor>& tensors);

  /// Writes tensors() with the options in the metadata, atomically.
  void save(const std::filesystem::path& path) const;
  /// Reads what save wrote; learning rates and the like stay as they are here. Throws Error when
  /// the file is damaged, was written by another optimizer, or does not fit (see assign); then
  /// nothing has changed.
  void load(const std::filesystem::path& path);

 private:
  friend Optimizer make_optimizer(const std::string&, const std::vector<ParameterGroup>&);
  struct Impl;
  explicit Optimizer(std::unique_ptr<Impl> impl);
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

/// The optimizer that `spec` names, in the command line's syntax: a name, then options separated by
/// colons: `adamw`, `adamw:lr=3e-5:state=block8`, `adafactor:lr=1e-3:relative_step=false`,
/// `adamw8bit:fp32=embeddings`. Options are the rule's own, those of StorageOptions and of
/// EngineOptions. State is allocated here, zero, on the device that all parameters must share; they must outlive the
/// optimizer, stay where they are and keep their shapes. Throws Error for an unknown name or option (naming the nearest
/// and the list), a value out of range, an illegal mix, a parameter that is null or without a value in f32 or bf16, or two
/// of one name.
Optimizer make_optimizer(const std::string& spec, const std::vector<ParameterGroup>& groups);
inline Optimizer make_optimizer(const std::string& spec,
                                const std::vector<Parameter*>& parameters) {
  return make_optimizer(spec, std::vector<ParameterGroup>{{parameters, ""}});
}
/// For {&weight, &bias}, which could otherwise be the ends of a range of groups.
inline Optimizer make_optimizer(const std::string& spec,
                                std::initializer_list<Parameter*> parameters) {
  return make_optimizer(spec, std::vector<Parameter*>(parameters));
}

/// Every name that make_optimizer takes.
std::vector<std::string> optimizer_names();

/// A state as Optimizer::save wrote it.
struct SavedState {
  std::string optimizer;
  /// Optimizer::options(); "slots": of each key its storage, sign and block_size.
  Json options;
  std::map<std::string, Tensor> tensors;  ///< see Optimizer::tensors
};

/// Reads it without its model. Throws Error when the file is damaged or no optimizer's state.
SavedState read_state(const std::filesystem::path& path);

}  // namespace minima

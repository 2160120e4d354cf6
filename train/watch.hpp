/// Watching: how far each tensor moves beside its own size, and an alarm when that spikes.
///
///   ratio = RMS(p_after − p_before) / RMS(p_before)     about 10⁻³ where training goes well
///
/// An alarm compares with what was usual: the median of the last 20 watched values, of which there must be 5. It rings
///
/// - when a value is above 10 times that median and above all that was ever usual (where training has little left to
///   learn, gradients fall by orders of magnitude and jump back without harm); a ratio above 10⁻³ when that holds as it
///   was measured and also at the full learning rate, divided by the schedule's factor (a warm-up makes the one rise,
///   momentum that holds earlier, larger steps the other);
/// - at once when a value is not a number (nor the loss) or a tensor above 10⁻³ moves by more than 10 times its own size;
/// - after the first step whose loss is finite for each tensor that is to be trained and got no gradient.
///
/// Once for each tensor and episode, which ends with the first value below the limit. Values of an episode enter the
/// median, so that a level that stays becomes the usual one.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "optim/optimizer.hpp"

namespace minima {

inline constexpr double kAlarmLimit = 10;        ///< times the running median
inline constexpr double kUsualRatio = 1e-3;      ///< to which a ratio may always rise
inline constexpr std::size_t kAlarmWindow = 20;  ///< watched values in the median
inline constexpr std::size_t kAlarmMinimum = 5;  ///< values before an alarm can ring

/// RMS of the update over RMS of the weight; NaN where the weight was all zero.
double update_ratio(const TensorReport& tensor);

/// A spike, or that no gradient came.
struct Alarm {
  enum class Of { ratio, gradient_norm, loss, no_gradient };
  i64 step;
  Of of;
  std::string tensor;           ///< of a ratio, and without a gradient
  double value = 0, usual = 0;  ///< and the running median
  /// The tensor's state is stored in 8 bits: a second moment that rounds to 0 makes a step long.
  bool eight_bit = false;

  /// "step 120: classifier.weight moves by 0.31 of its size, 25 times the usual 0.012", and the way out of 8 bits.
  std::string text() const;
  Json to_json() const;
  /// What to_json gave. Throws Error or Json::exception for JSON of another form.
  static Alarm from_json(const Json& json);
};

class Watch {
 public:
  /// What rings in this step. Ratios count unless `lr_factor` is 0.
  std::vector<Alarm> observe(i64 step, double lr_factor, const StepReport& report);
  /// Forgets which ratios were usual: another optimizer has other steps. The gradient's norm is the
  /// model's and stays.
  void restart() {
    std::erase_if(histories_, [](const auto& history) { return !history.first.empty(); });
  }
  /// {tensor: {"values": […], "measured": […], "highest", "ringing"}}; restore takes it back. Throws Error for JSON of
  /// another form.
  Json state() const;
  void restore(const Json& state);

 private:
  struct History {
    std::deque<double> values, measured;  ///< at the full learning rate, and as they were
    double highest = 0;                   ///< of the medians of `values` so far
    bool ringing = false;
    /// Whether an episode begins; `usual` becomes what was measured before `value`, their median. `too_large`: it rings
    /// whatever was usual; up to `least` none does.
    bool rings(double value, double lr_factor, double& usual, double least, bool too_large);
  };
  std::map<std::string, History> histories_;  ///< by tensor; "" the gradient's norm
};

}  // namespace minima

/// Reduce on plateau: the learning rate shrinks when a metric has stopped improving.
///
///     ReduceOnPlateau plateau({.patience = 2});
///     optimizer.step({.lr_factor = plateau.factor()});   // between evaluations
///     plateau.step(dev_loss);                            // after each
///
/// One evaluation with the metric m, as in torch's ReduceLROnPlateau:
///
///     improved   rel  m < best (1 − threshold), in mode max m > best (1 + threshold)
///                abs  m < best − threshold,     in mode max m > best + threshold
///     bad        0 where it improved, else one more; 0 all through a cooldown
///     reduction  where bad > patience: lr ← max(lr · factor, minimum), then cooldown, bad ← 0
///
/// A metric that is not a number has not improved. What torch states in units of lr (min_lr, eps)
/// is here a share of it, like every factor of a schedule.
#pragma once

#include <optional>

#include "core/json_fwd.hpp"
#include "optim/options.hpp"

namespace minima {

class ReduceOnPlateau {
 public:
  enum class Mode { min, max };
  enum class Threshold { rel, abs };

  struct Options {
    Mode mode = Mode::min;
    double factor = 0.1;
    i64 patience = 10;
    double threshold = 1e-4;
    Threshold threshold_mode = Threshold::rel;
    i64 cooldown = 0;    ///< evaluations after a reduction that do not count as bad
    double minimum = 0;  ///< the least share of lr
    double eps = 1e-8;   ///< a reduction by no more than this share is left out

    static constexpr auto fields() {
      return std::tuple{Field{"mode", &Options::mode},
                        Field{"factor", &Options::factor, below_one},
                        Field{"patience", &Options::patience, Range{0, 0x1p53}},
                        Field{"threshold", &Options::threshold, nonnegative},
                        Field{"threshold_mode", &Options::threshold_mode},
                        Field{"cooldown", &Options::cooldown, Range{0, 0x1p53}},
                        Field{"minimum", &Options::minimum, Range{0, 1}},
                        Field{"eps", &Options::eps, nonnegative}};
    }
  };

  /// Throws Error for an option out of its range.
  explicit ReduceOnPlateau(const Options& options);

  /// Sees the metric of one evaluation.
  void step(double metric);
  /// On every group's learning rate; 1 at first.
  double factor() const { return factor_; }

  /// {"best": number or null, "bad", "cooldown", "factor"}; restore takes it back. Throws Error for
  /// JSON of another form; then nothing has changed.
  Json state() const;
  void restore(const Json& state);

 private:
  bool improved(double metric) const;

  Options options_;
  std::optional<double> best_;
  i64 bad_ = 0, cooldown_ = 0;
  double factor_ = 1;
};

std::span<const std::string_view> choices(ReduceOnPlateau::Mode);
std::span<const std::string_view> choices(ReduceOnPlateau::Threshold);

}  // namespace minima

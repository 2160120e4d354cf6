/// Learning-rate schedules: a factor on every group's learning rate, for each optimizer step.
///
///     Schedule schedule{.kind = "linear", .warmup = 100, .total = 1000};
///     optimizer.step({.lr_factor = schedule.factor(k)});   // k: optimizer steps already taken
///
/// All but one_cycle begin with a linear warm-up: k < W gives k/W, so that the very first step has
/// factor 0 and fills the moments without moving a weight, as in `transformers`. After it, with
/// j = k − W steps and progress f = j/max(1, N − W), a schedule is one function in schedule.cpp:
///
///     constant          1
///     linear            1 − f, 0 from k = N on
///     cosine            (1 + cos 2π·cycles·f)/2, minimum for 0              cycles 0.5
///     cosine_restarts   (1 + cos π·frac(cycles·f))/2, 0 from f = 1 on       cycles 1
///     polynomial        (1 − end)(1 − f)^power + end, end for k > N         power 1
///     inverse_sqrt      1/√((j + T)/T)                                      T = timescale
///     step              gamma^⌊j/step_size⌋                                 as torch's StepLR
///     warm_restarts     (1 + cos π·c/T)/2, minimum for 0, at step c of a period of T steps: T_0,
///                       then T_mult times as many, …                        Loshchilov & Hutter 2017
///     one_cycle         up from 1/div_factor to 1 while k ≤ pct_start·N − 1, then down to
///                       1/(div_factor·final_div_factor) at k = N − 1        Smith & Topin 2017
///     plateau           1; a ReduceOnPlateau goes on from there
///
/// What torch and `transformers` state in units of lr (lr_end, eta_min, min_lr, eps) is here a share of
/// it: `end`, `minimum`, `eps`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/files/json_fwd.hpp"
#include "core/types.hpp"
#include "optim/options.hpp"

namespace minima {

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
/// A metric that is not a number has not improved.
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

struct Schedule {
  enum class Anneal { cos, linear };

  std::string kind = "linear";
  i64 warmup = 0;  ///< W, in optimizer steps; of one_cycle, which rises by itself, it is 0
  i64 total = 0;   ///< N, in optimizer steps
  std::optional<double> cycles = {};
  double minimum = 0;  ///< cosine and warm_restarts fall to this factor instead of 0
  double power = 1;
  double end = 0;                     ///< the factor at which polynomial ends
  i64 timescale = 0;                  ///< 0: W, or else 10,000
  std::optional<i64> step_size = {};  ///< none: a third of N − W
  double gamma = 0.1;
  std::optional<i64> t_0 = {};  ///< none: N − W
  i64 t_mult = 1;
  double pct_start = 0.3;
  double div_factor = 25, final_div_factor = 1e4;
  Anneal anneal = Anneal::cos;  ///< the form of one_cycle's rise and fall
  /// one_cycle falls back to where it began, as fast as it rose, and only then to its end.
  bool three_phase = false;
  ReduceOnPlateau::Options plateau = {};

  static constexpr auto fields() {
    constexpr Range share{0, 1}, steps{0, 0x1p53}, some_steps{1, 0x1p53};
    constexpr Range inside{positive.least, 1, false};
    return std::tuple{Field{"cycles", &Schedule::cycles, positive},
                      Field{"minimum", &Schedule::minimum, share},
                      Field{"power", &Schedule::power, positive},
                      Field{"end", &Schedule::end, share},
                      Field{"timescale", &Schedule::timescale, steps},
                      Field{"step_size", &Schedule::step_size, some_steps},
                      Field{"gamma", &Schedule::gamma, Range{positive.least, 1}},
                      Field{"T_0", &Schedule::t_0, some_steps},
                      Field{"T_mult", &Schedule::t_mult, some_steps},
                      Field{"pct_start", &Schedule::pct_start, inside},
                      Field{"div_factor", &Schedule::div_factor, positive},
                      Field{"final_div_factor", &Schedule::final_div_factor, positive},
                      Field{"anneal", &Schedule::anneal},
                      Field{"three_phase", &Schedule::three_phase}};
  }

  /// The factor for step k, counted from 0. Throws Error as validate does.
  double factor(i64 k) const;
  /// Throws Error for an unknown kind, naming the nearest, and for an option out of its range.
  void validate() const;
  /// Whether a warm-up goes before it.
  bool takes_warmup() const { return kind != "one_cycle"; }
};

std::span<const std::string_view> choices(Schedule::Anneal);

/// The schedule that `spec` names, in the command line's syntax: `linear`, `cosine:minimum=0.1`,
/// `one_cycle:pct_start=0.2:three_phase=true`, `plateau:patience=2`. Its warm-up and its steps are
/// left at 0. Throws Error for an unknown kind, an option that this kind does not have (naming the
/// nearest and the list), or a value out of range.
Schedule parse_schedule(const std::string& spec);

std::vector<std::string> schedule_names();
/// The options of the schedule of this name, as they are by default.
std::vector<OptionHelp> schedule_help(const std::string& name);

}  // namespace minima

/// The rows of cross-entropy (core/ops/cross_entropy.hpp) and of its gradient.
#pragma once

#include "core/each.hpp"
#include "core/math.hpp"

namespace minima::ops {

/// What both need to know of the options. weight is null where all classes weigh 1.
template <class T>
struct Classes {
  i64 count, ignore_index;
  double smoothing;
  const T* weight;

  /// Whether a target counts. Those outside of the classes have been refused, or will be (core/cuda/wrong_value.hpp).
  MINIMA_HD bool counts(i64 t) const { return t != ignore_index && t >= 0 && t < count; }
  MINIMA_HD double weight_of(i64 c) const { return weight ? static_cast<double>(weight[c]) : 1; }
  template <class Team>
  MINIMA_HD double weight_sum(const Team& team) const {
    return weight ? row_sum(team, count, [w = weight](i64 c) MINIMA_INLINE { return w[c]; })
                  : static_cast<double>(count);
  }
  /// Σ_i w_t of the targets that count.
  template <class Team>
  MINIMA_HD double target_weight(const Team& team, i64 rows, const i64* target) const {
    return row_sum(team, rows, [*this, target](i64 i) MINIMA_INLINE {
      return counts(target[i]) ? weight_of(target[i]) : 0.0;
    });
  }
  /// Σ_c w_c (x_c − shift).
  template <class Team>
  MINIMA_HD double weighted_sum(const Team& team, const T* x, T shift) const {
    if (!weight)
      return row_sum(team, count, [x, shift](i64 c) MINIMA_INLINE { return x[c] - shift; });
    return row_sum(team, count,
                   [x, shift, w = weight](i64 c) MINIMA_INLINE { return w[c] * (x[c] - shift); });
  }
};

/// −ln p_c = l − (x_c − M), where M = max x, S = Σ e^(x − M), l = ln S, so
///     ℓ = (1−ε) w_t (l − (x_t − M)) + ε/C (l Σ w − Σ w (x − M))
/// M and S stay apart in `statistics` [rows, 2]: M + l in 32 bits would lose what large logits differ by.
template <class T>
struct CrossEntropyForward {
  Classes<T> classes;
  const T* logits;
  const i64* target;
  T *loss, *statistics;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const i64 n = classes.count;
    const T* const x = logits + row * n;
    const T shift = row_max(team, n, x);
    const double total =
        row_sum(team, n, [=](i64 c) MINIMA_INLINE { return math::exp(x[c] - shift); });
    const double log_total = math::log(total);
    const i64 t = target[row];
    double of_target = 0, of_all = 0;
    if (classes.counts(t)) {
      of_target = classes.weight_of(t) *
                  (log_total - (static_cast<double>(x[t]) - static_cast<double>(shift)));
      if (classes.smoothing > 0)
        of_all = (log_total * classes.weight_sum(team) - classes.weighted_sum(team, x, shift)) /
                 static_cast<double>(n);
    }
    if (!team.leads()) return;
    statistics[2 * row] = shift, statistics[2 * row + 1] = static_cast<T>(total);
    loss[row] = static_cast<T>((1 - classes.smoothing) * of_target + classes.smoothing * of_all);
  }
};

/// dx_c = g (a p_c − ε/C w_c − [c = t] (1−ε) w_t), a = (1−ε) w_t + ε/C Σ w; g = dy of the row. dx may be the logits.
template <class T>
struct CrossEntropyBackward {
  Classes<T> classes;
  const T* dy;
  i64 dy_step;
  const double* divisor;
  const T* logits;
  const i64* target;
  const T* statistics;
  T* dx;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64 row) const {
    const i64 n = classes.count;
    const T* const x = logits + row * n;
    T* const out = dx + row * n;
    const i64 t = target[row];
    if (!classes.counts(t)) {
      team.each(n, [=](i64 c) MINIMA_INLINE { out[c] = T(0); });
      return;
    }
    const double each = classes.smoothing / static_cast<double>(n);
    const double all = each == 0 ? 0 : each * classes.weight_sum(team);
    const double g = static_cast<double>(dy[row * dy_step]) / *divisor;
    const double own = (1 - classes.smoothing) * classes.weight_of(t);
    const T shift = statistics[2 * row], total = statistics[2 * row + 1];
    const T of_p = static_cast<T>(g * (own + all) / static_cast<double>(total));
    const T of_weight = static_cast<T>(g * each), of_target = static_cast<T>(g * own);
    const auto weight = classes.weight;
    if (weight) {
      team.each(n, [=](i64 c) MINIMA_INLINE {
        out[c] = of_p * math::exp(x[c] - shift) - of_weight * weight[c];
      });
    } else {
      team.each(n,
                [=](i64 c) MINIMA_INLINE { out[c] = of_p * math::exp(x[c] - shift) - of_weight; });
    }
    if (team.owns(t)) out[t] -= of_target;
  }
};

/// How many targets count, but at least 1: one row.
struct CountTargets {
  Classes<float> classes;  ///< without weights
  i64 rows;
  const i64* target;
  double* count;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64) const {
    const double found = classes.target_weight(team, rows, target);
    if (team.leads()) *count = found > 1 ? found : 1;
  }
};

/// The mean of the losses, and what their sum was divided by: one row.
template <class T>
struct MeanLoss {
  Classes<T> classes;
  i64 rows;
  const T* loss;
  const i64* target;
  T* mean;
  double* divisor;

  template <class Team>
  MINIMA_HD void operator()(const Team& team, i64) const {
    const double sum = row_sum(team, rows, [*this](i64 i) MINIMA_INLINE { return loss[i]; });
    const double weights = classes.target_weight(team, rows, target);
    if (!team.leads()) return;
    *divisor = weights;
    *mean = static_cast<T>(sum / weights);
  }
};

}  // namespace minima::ops

/// AdaPM: momentum only where it matters (Y. Zhang, Y. Liu, C. Fang 2025, arXiv:2510.09103). This is
/// our reading of its abstract: which tensors keep what follows the abstract and a summary of the
/// paper, the estimator of the low-rank kind is ours.
///
///   v ← β₂ v + (1 − β₂) g²,  v̂ = v/(1 − β₂ᵗ)      as in AdamW; with `factored` from means of rows and
///                                                 columns, v = R Cᵀ/mean(R)
///   p ← (1 − lr·λ) p
///   p ← p − lr · e / (√v̂ + ε)                     e estimates the mean gradient, by kind:
///
///   full      m ← β₁ m + (1 − β₁) g               e = m/(1 − β₁ᵗ)
///   none                                          e = g: unbiased as it is
///   low_rank  Q [n, r], C [r, m], n ≤ m           the shorter side first: else gᵀ is read for g
///             A = β₁ Q C + (1 − β₁) g             never formed
///             W = rows of C, of length 1          pseudo-random where a row is zero
///             Q′ = orthonormal columns of A Wᵀ,  C′ = Q′ᵀ A
///             e = Q′ C′/(1 − β₁ᵗ) + (g − Q′ Q′ᵀ g)     averaged and corrected inside the subspace,
///                                                 the raw gradient at full weight outside it
///
/// A kind is chosen by name: `full`, `none` and `low_rank` are patterns, asked in this order; vectors
/// and what matches nothing keep full momentum. Of rank 0, low_rank is none; of rank min(n, m), full.
#pragma once

#include "optim/rule.hpp"

namespace minima {

struct AdaPm {
  static constexpr std::string_view name = "adapm";

  struct Options {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-2;
    i64 rank = 16;
    bool factored = false;
    std::string full = "";
    std::string none = "embeddings|attention.out_lin|attention.output";
    std::string low_rank = "q_lin|k_lin|query|key|ffn.lin|intermediate|output.dense";

    static constexpr auto fields() {
      return std::tuple{Field{"lr", &Options::lr, nonnegative},
                        Field{"beta1", &Options::beta1, below_one},
                        Field{"beta2", &Options::beta2, below_one},
                        Field{"eps", &Options::eps, nonnegative},
                        Field{"weight_decay", &Options::weight_decay, nonnegative},
                        Field{"rank", &Options::rank, Range{0, 4096}},
                        Field{"factored", &Options::factored},
                        Field{"full", &Options::full},
                        Field{"none", &Options::none},
                        Field{"low_rank", &Options::low_rank}};
    }
  };

  static std::vector<Slot> slots(const Options& o, const ParameterShape& parameter);
  static void step(const Options& o, const StepView& view);
  /// Of the low rank a step makes e, and some factors.
  static i64 temporary(const Options& o, const StepView& view);
};

}  // namespace minima

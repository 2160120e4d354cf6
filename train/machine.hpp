/// What this machine is and what it can do: for `minima doctor`, the record of a run, and the
/// benchmarks, which put their figures beside these limits.
#pragma once

#include <optional>
#include <string>

#include "core/cpu/blas.hpp"
#include "core/files/json.hpp"
#include "core/stopwatch.hpp"

namespace minima {

struct MachineInfo {
  std::string minima;            ///< the program's own version
  std::string processor;         ///< its model name
  int cores;                     ///< that this process may run on
  int threads;                   ///< that compute
  i64 memory;                    ///< bytes installed
  VectorUnit widest_unit, unit;  ///< the processor's, and the one in use
  blas::Info blas;
  bool in_blocks;  ///< products of f32 are made by minima, not by OpenBLAS (core/ops/matmul.hpp)
  std::string huge_pages;  ///< "always", "madvise" or "never"; "unknown" where the system is silent
  std::string cuda;        ///< what its driver finds

  Json to_json() const;
};

/// Loads OpenBLAS if that was not done before; throws Error when it cannot be loaded and products need it.
MachineInfo describe_machine();

/// What other programs, and other machines on the same processor, do while this lives: whoever measures times wants to know.
class OtherWork {
 public:
  OtherWork();
  /// How many cores they have used since, on average; none where the system does not tell.
  std::optional<double> cores() const;

 private:
  Stopwatch since_;
  std::optional<double> before_;
};

// Measurements: the best of several tries, each a fraction of a second in all. Other work on the
// machine lowers them.

/// 10⁹ operations a second of fused multiply-adds that never leave the registers (of a product and
/// a sum where the processor has none): what arithmetic can reach at most.
double measure_peak_gflops(int threads);
/// The same of a product of two 1024 × 1024 matrices, by ops::gemm.
double measure_gflops(int threads);
/// 10⁹ bytes a second of a ← a + s·b on all threads, over arrays far larger than the caches: two reads and a write for
/// each element. In place, as optimizers work: writing to a third array would also read it, unseen, into the cache.
double measure_bandwidth();

/// The worst |error| of an element of products as ops::gemm makes them, over odd sizes and all transposes, as a
/// multiple of Σ|a||b|·2⁻²⁴. Right kernels stay below 20; some builds miscompute on some
/// processors.
double worst_product_error();
inline constexpr double kProductErrorLimit = 20;

}  // namespace minima

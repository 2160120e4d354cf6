/// Where the benchmarks compute: on the cpu, or what MINIMA_BENCH_DEVICE names (cuda, cuda:N).
#pragma once

#include <chrono>
#include <cstdlib>

#include "core/device.hpp"
#include "core/json.hpp"
#include "core/ops/matmul.hpp"
#include "train/machine.hpp"

namespace minima::bench {

inline Device device() {
  const char* name = std::getenv("MINIMA_BENCH_DEVICE");
  return name ? parse_device(name) : Device{};
}

/// Waits until a device has done all that was queued.
inline void finish(Device device) { Tensor::zeros({1}, DType::f32, device).to(Device{}); }

/// Seconds of one call of f, the best of several; the first, which makes room, does not count.
template <class F>
double best_seconds(Device device, const F& f) {
  double best = 1e30;
  for (int k = 0; k < 8; ++k) {
    finish(device);
    const auto start = std::chrono::steady_clock::now();
    f();
    finish(device);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (k > 0) best = std::min(best, taken.count());
  }
  return best;
}

/// 10⁹ bytes a second of the device's memory: of a ← a + s·b on the cpu, of a copy on a GPU, reads and writes counted.
inline double bandwidth() {
  const Device device = bench::device();
  if (device == Device{}) return measure_bandwidth();
  const Tensor a = Tensor::zeros({i64{1} << 28}, DType::f32, device);
  return 1e-9 * 2 * static_cast<double>(a.bytes()) / best_seconds(device, [&] { a.clone(); });
}

/// What the device can do at most: fp32 arithmetic of registers alone (of the cpu), of a large product, and memory.
inline Json limits() {
  const Device device = bench::device();
  if (device == Device{})
    return {{"peak_gflops", measure_peak_gflops(threads())},
            {"product_gflops", measure_gflops(threads())},
            {"memory_gb_s", bandwidth()}};
  constexpr i64 n = 8192;
  const Tensor a = Tensor::full({n, n}, 0.5, DType::f32, device);
  const double product = best_seconds(device, [&] { ops::matmul(a, a); });
  return {{"product_gflops", 2e-9 * n * n * n / product}, {"memory_gb_s", bandwidth()}};
}

}  // namespace minima::bench

/// Where the benchmarks compute: on the cpu, or what MINIMA_BENCH_DEVICE names (cuda, cuda:N).
#pragma once

#include <cstdlib>
#include <random>

#include "core/device.hpp"
#include "core/ops/matmul.hpp"
#include "core/stopwatch.hpp"
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
    const Stopwatch taken;
    f();
    finish(device);
    if (k > 0) best = std::min(best, taken.seconds());
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

/// Numbers as they occur: a product of equal ones would spare a GPU power, and be faster than any other.
inline Tensor noise(i64 rows, i64 columns) {
  Tensor x = Tensor::empty({rows, columns});
  std::minstd_rand random(1);
  for (float& value : x.span<float>())
    value = static_cast<float>(random()) / static_cast<float>(std::minstd_rand::max()) - 0.5f;
  return x;
}

/// What the device can do at most: fp32 arithmetic of registers alone (of the cpu), of a large product (on a GPU also of
/// numbers in TF32 and bf16), and memory.
inline Json limits() {
  const Device device = bench::device();
  if (device == Device{})
    return {{"peak_gflops", measure_peak_gflops(threads())},
            {"product_gflops", measure_gflops(threads())},
            {"memory_gb_s", bandwidth()}};
  constexpr i64 n = 8192;
  const auto gflops = [&](const Tensor& a) {
    return 2e-9 * n * n * n / best_seconds(device, [&] { ops::matmul(a, a); });
  };
  const auto gflops_of_tf32 = [&](const Tensor& a) {
    const ops::AllowTf32 rounding;
    return gflops(a);
  };
  const Tensor a = noise(n, n).to(device);
  return {{"product_gflops", gflops(a)},
          {"tf32_gflops", gflops_of_tf32(a)},
          {"bf16_gflops", gflops(a.to(DType::bf16))},
          {"memory_gb_s", bandwidth()}};
}

}  // namespace minima::bench

#include <tuple>

#include "core/cuda/block.hpp"

namespace minima {
namespace MINIMA_BACKEND {
namespace {

template <class Bits>
__global__ void note_first_kernel(i64 n, const Bits* x, Bits exponent, unsigned long long* found) {
  const i64 stride = static_cast<i64>(gridDim.x) * kThreads;
  for (i64 i = static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += stride)
    if ((x[i] & exponent) == exponent) atomicMin(found, static_cast<unsigned long long>(i));
}

}  // namespace
}  // namespace MINIMA_BACKEND

namespace ops {

template <AnyGpu Gpu, class Bits>
void note_first(Gpu gpu, i64 n, const Bits* x, Bits exponent, i64* found) {
  using namespace MINIMA_BACKEND;
  launch(gpu, note_first_kernel<Bits>, ceil_div(n, kThreads), kThreads, 0, n, x, exponent,
         reinterpret_cast<unsigned long long*>(found));
}

namespace {

template <class... Bits>
constexpr auto all() {
  return std::tuple{&note_first<MINIMA_BACKEND::Gpu, Bits>...};
}
[[gnu::used, maybe_unused]] const auto kWrittenOut = all<u16, u32, u64>();

}  // namespace
}  // namespace ops
}  // namespace minima

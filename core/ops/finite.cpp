#include "core/ops/finite.hpp"

#include <algorithm>
#include <atomic>
#include <limits>

#include "core/cpu/threads.hpp"
#include "core/on_device.hpp"

namespace minima::ops {

/// found ← the place of the first of x whose bits hold all of `exponent`, unless it holds a lower one
/// (core/ops/finite.cu).
template <AnyGpu Gpu, class Bits>
void note_first(Gpu gpu, i64 n, const Bits* x, Bits exponent, i64* found);

namespace {

/// Numbers whose exponent has all bits set are infinite or not numbers. The comparison of integers vectorizes; one
/// of floats that stops at the first hit does not.
template <class Bits>
bool holds_non_finite(const Bits* x, i64 n, Bits exponent) {
  Bits found = 0;
  for (i64 i = 0; i < n; ++i) found |= static_cast<Bits>((x[i] & exponent) == exponent);
  return found != 0;
}

template <class Bits>
i64 first(Cpu, const Tensor& tensor, Bits exponent) {
  constexpr i64 kChunk = 1 << 16;
  const auto* x = reinterpret_cast<const Bits*>(tensor.raw());
  std::atomic<i64> first_chunk{std::numeric_limits<i64>::max()};
  parallel_chunks(tensor.size(), kChunk, [&](i64 begin, i64 end) {
    if (!holds_non_finite(x + begin, end - begin, exponent)) return;
    i64 least = first_chunk.load();
    while (begin < least && !first_chunk.compare_exchange_weak(least, begin)) {
    }
  });
  const i64 begin = first_chunk.load();
  if (begin >= tensor.size()) return -1;
  return std::find_if(x + begin, x + tensor.size(),
                      [&](Bits bits) { return (bits & exponent) == exponent; }) -
         x;
}

template <class Bits, AnyGpu Gpu>
i64 first(Gpu gpu, const Tensor& tensor, Bits exponent) {
  Tensor found = Tensor::full({}, static_cast<double>(tensor.size()), DType::i64, tensor.device());
  note_first(gpu, tensor.size(), reinterpret_cast<const Bits*>(tensor.raw()), exponent,
             found.data<i64>());
  const i64 at = *found.to(Device{}).data<i64>();
  return at == tensor.size() ? -1 : at;
}

template <class Bits>
i64 first(const Tensor& tensor, Bits exponent) {
  return on_device(tensor.device(),
                   [&](auto device) { return first<Bits>(device, tensor, exponent); });
}

}  // namespace

i64 first_non_finite(const Tensor& x) {
  switch (x.dtype()) {
    case DType::f64:
      return first<u64>(x, 0x7ff0000000000000u);
    case DType::f32:
      return first<u32>(x, 0x7f800000u);
    case DType::bf16:
      return first<u16>(x, 0x7f80u);
    case DType::f16:
      return first<u16>(x, 0x7c00u);
    default:
      return -1;
  }
}

}  // namespace minima::ops

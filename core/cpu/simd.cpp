#include "core/cpu/simd.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "core/error.hpp"

namespace minima {

const char* name(VectorUnit unit) {
  switch (unit) {
    case VectorUnit::avx512:
      return "avx512";
    case VectorUnit::avx2:
      return "avx2";
    case VectorUnit::base:
      break;
  }
  return "base";
}

VectorUnit widest_vector_unit() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
  if (avx512) return VectorUnit::avx512;
  if (avx2) return VectorUnit::avx2;
#endif
  return VectorUnit::base;
}

VectorUnit vector_unit() {
  static const VectorUnit chosen = [] {
    const char* wish = std::getenv("MINIMA_VECTOR_UNIT");
    if (!wish) return widest_vector_unit();
    for (VectorUnit unit : {VectorUnit::base, VectorUnit::avx2, VectorUnit::avx512})
      if (std::string_view(wish) == name(unit)) return std::min(unit, widest_vector_unit());
    fail("MINIMA_VECTOR_UNIT is '{}'; it can be base, avx2 or avx512", wish);
  }();
  return chosen;
}

const std::uintptr_t kFetchDistance = [] {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_is("amdfam19h")) return 0;
#endif
  return 4096;
}();

}  // namespace minima

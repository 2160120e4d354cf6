/// Element types of a tensor, and the two 16-bit floats as C++ types.
#pragma once

#include <bit>
#include <concepts>
#include <string_view>

#include "core/error.hpp"
#include "core/types.hpp"

namespace minima {

enum class DType : u8 { f64, f32, bf16, f16, i64, i32, u8 };

/// bfloat16: the upper half of a float. Conversion rounds to nearest, ties to even; NaN stays NaN.
struct bf16 {
  u16 bits = 0;
  bf16() = default;
  MINIMA_HD explicit bf16(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800  // has an instruction for it
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
    const u32 b = std::bit_cast<u32>(x);
    bits = (b & 0x7fffffffu) > 0x7f800000u
               ? static_cast<u16>((b >> 16) | 0x40u)
               : static_cast<u16>((b + 0x7fffu + ((b >> 16) & 1)) >> 16);
#endif
  }
  MINIMA_HD explicit operator float() const { return std::bit_cast<float>(u32{bits} << 16); }
};

/// IEEE 754 binary16. Conversion rounds to nearest, ties to even; what is too large becomes
/// infinite.
struct f16 {
  u16 bits = 0;
  f16() = default;
  MINIMA_HD explicit f16(float x);
  MINIMA_HD explicit operator float() const;
};

MINIMA_HD f16::f16(float x) {
  const u32 b = std::bit_cast<u32>(x);
  const u16 sign = static_cast<u16>((b >> 16) & 0x8000u);
  const u32 magnitude = b & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {  // NaN
    bits = static_cast<u16>(sign | 0x7e00u);
  } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
    bits = static_cast<u16>(sign | 0x7c00u);
  } else if (magnitude >= 0x38800000u) {  // normal: fewer bits of mantissa, another bias
    const u32 rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
    bits = static_cast<u16>(sign | ((rounded - 0x38000000u) >> 13));
  } else {  // subnormal: adding 0.5 lines the bits up, and the float unit itself rounds
    const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
    bits = static_cast<u16>(sign | (std::bit_cast<u32>(aligned) - std::bit_cast<u32>(0.5f)));
  }
}

MINIMA_HD f16::operator float() const {
  const u32 sign = u32{bits & 0x8000u} << 16;
  const u32 exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa · 2⁻²⁴
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<u32>(value));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

/// What the elements of a tensor may be. Of long and long long, 64 bits both, only the one that is std::int64_t.
template <class T>
concept Element = std::same_as<T, double> || std::same_as<T, float> || std::same_as<T, bf16> ||
    std::same_as<T, f16> || std::same_as<T, i64> || std::same_as<T, i32> || std::same_as<T, u8>;

template <Element T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, double>) return DType::f64;
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, bf16>) return DType::bf16;
  if constexpr (std::is_same_v<T, f16>) return DType::f16;
  if constexpr (std::is_same_v<T, i64>) return DType::i64;
  if constexpr (std::is_same_v<T, i32>) return DType::i32;
  if constexpr (std::is_same_v<T, u8>) return DType::u8;
}

i64 element_size(DType dtype);             ///< bytes
std::string_view dtype_name(DType dtype);  ///< "f32"

constexpr bool is_float(DType dtype) {
  return dtype != DType::i64 && dtype != DType::i32 && dtype != DType::u8;
}

/// Floats of two bytes are types of storage: arithmetic on such numbers is in f32.
template <class T>
concept Narrow = std::same_as<T, bf16> || std::same_as<T, f16>;
constexpr bool is_narrow(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }
/// A type's, or a number as one, of the arithmetic.
constexpr DType widened(DType dtype) { return is_narrow(dtype) ? DType::f32 : dtype; }
template <class T>
MINIMA_HD auto widened(T x) {
  if constexpr (Narrow<T>)
    return static_cast<float>(x);
  else
    return x;
}
template <class T>
using Widened = decltype(widened(T{}));

/// Calls f with a zero of the C++ type that stands for `dtype`:
///
///     visit(dtype, [](auto zero) { using T = decltype(zero); … });
template <class F>
decltype(auto) visit(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64:
      return f(double{});
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    case DType::f16:
      return f(f16{});
    case DType::i64:
      return f(i64{});
    case DType::i32:
      return f(i32{});
    case DType::u8:
      break;
  }
  return f(u8{});
}

/// The same for ops that compute in f32 or f64 only. Throws Error, naming the op, for every other
/// type.
template <class F>
decltype(auto) visit_real(std::string_view op, DType dtype, F&& f) {
  if (dtype == DType::f32) return f(float{});
  if (dtype != DType::f64) fail("{}: takes f32 or f64, not {}", op, dtype_name(dtype));
  return f(double{});
}

/// The same for ops that also take numbers stored in two bytes.
template <class F>
decltype(auto) visit_float(std::string_view op, DType dtype, F&& f) {
  if (dtype == DType::bf16) return f(bf16{});
  if (dtype == DType::f16) return f(f16{});
  return visit_real(op, dtype, f);
}

}  // namespace minima

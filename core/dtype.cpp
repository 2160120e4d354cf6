#include "core/dtype.hpp"

namespace minima {

i64 element_size(DType dtype) {
  return visit(dtype, [](auto zero) { return static_cast<i64>(sizeof(zero)); });
}

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "f64";
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::i64:
      return "i64";
    case DType::i32:
      return "i32";
    case DType::u8:
      break;
  }
  return "u8";
}

f16::f16(float x) {
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

f16::operator float() const {
  const u32 sign = u32{bits & 0x8000u} << 16;
  const u32 exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa · 2⁻²⁴
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<u32>(value));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

}  // namespace minima

/// exp, erf and tanh that the compiler can vectorize: no branch, no table, no call. For double they
/// are the standard library's. The polynomials are minimax fits (Lawson's iteration, relative
/// error); measured over all floats of the range against double, the error is below 1 ulp for
/// exp, 2.5 for erf and 1.4 for tanh.
#pragma once

#include <bit>
#include <cmath>

#include "core/types.hpp"

namespace minima::math {

namespace detail {

/// c[0] + c[1] x + c[2] x² + …, by Horner's rule with fused multiply-adds.
template <class... Rest>
MINIMA_HD float polynomial(float x, float c0, Rest... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return c0;
  } else {
    return std::fma(polynomial(x, rest...), x, c0);
  }
}

}  // namespace detail

/// 2ˣ. A GPU has it, off by 2 ulp, and flushed to 0 for x < −126.
MINIMA_HD float exp2(float x) {
#if defined(__CUDA_ARCH__)
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
#else
  return std::exp2(x);
#endif
}

/// eˣ. Below about −87.3 the result is 0 instead of subnormal; above 88.7 it is infinite; NaN stays NaN.
MINIMA_HD float exp(float x) {
#if defined(__CUDA_ARCH__)
  // 2ᵗ, where what t = x log₂ e lost by rounding is made up for.
  constexpr float kLog2e = 1.44269504f, kRest = 1.92596303e-8f, kLn2 = 0.693147181f;
  const float clamped = x < -88.0f ? -88.0f : (x > 88.8f ? 88.8f : x);
  const float t = clamped * kLog2e;
  const float lost = std::fma(clamped, kRest, std::fma(clamped, kLog2e, -t));
  return exp2(t) * std::fma(lost, kLn2, 1.0f);
#else
  // x = n ln 2 + r with |r| ≤ ln 2 / 2; adding 1.5·2²³ rounds to a whole number in the low bits.
  constexpr float kRound = 12582912.0f;
  const float clamped = x < -87.336544f ? -87.336544f : (x > 88.8f ? 88.8f : x);
  const float shifted = std::fma(clamped, 1.44269504f, kRound);
  const float n = shifted - kRound;
  float r = std::fma(n, -0.693145752f, clamped);  // ln 2 in two parts; n times the first is exact
  r = std::fma(n, -1.42860677e-6f, r);
  const float p =
      detail::polynomial(r, 0.49999994f, 0.16666521f, 0.04166839f, 0.00836871f, 0.00138146f);
  const float y = std::fma(r * r, p, r) + 1.0f;
  // 2ⁿ in two factors, since n may be 128
  const i32 whole = std::bit_cast<i32>(shifted) - std::bit_cast<i32>(kRound);
  const i32 half = whole >> 1;
  const float scaled = y * std::bit_cast<float>((half + 127) << 23) *
                       std::bit_cast<float>((whole - half + 127) << 23);
  return x < -87.336544f ? 0.0f : scaled;
#endif
}
MINIMA_HD double exp(double x) { return std::exp(x); }

/// 2/√π ∫₀ˣ e^(−t²) dt: an odd polynomial up to 1, and 1 − e^q(|x|) with q ≈ ln erfc beyond.
MINIMA_HD float erf(float x) {
  const float t = std::abs(x);
  const float s = t * t;
  const float near = x * detail::polynomial(s, 1.1283791f, -0.37612626f, 0.11283585f, -0.02685381f,
                                            0.0051883277f, -0.00080101925f, 7.8538578e-5f);
  const float c = t > 4.0f ? 4.0f : t;
  const float far =
      1.0f - exp(detail::polynomial(c, -0.00035370892f, -1.12704f, -0.6382256f, -0.10303743f,
                                    0.021805352f, -0.0029396156f, 0.00018557490f));
  return t > 1.0f ? std::copysign(far, x) : near;
}
MINIMA_HD double erf(double x) { return std::erf(x); }

/// An odd polynomial up to 0.6, and 1 − 2/(e^(2|x|) + 1) beyond.
MINIMA_HD float tanh(float x) {
  const float t = std::abs(x);
  const float s = x * x;
  const float near = x * detail::polynomial(s, 1.0f, -0.33333284f, 0.1333173f, -0.053771846f,
                                            0.020763585f, -0.0058632158f);
  const float far = 1.0f - 2.0f / (exp(2 * (t > 20.0f ? 20.0f : t)) + 1.0f);
  return t > 0.6f ? std::copysign(far, x) : near;
}
MINIMA_HD double tanh(double x) { return std::tanh(x); }

MINIMA_HD float log(float x) { return std::log(x); }
MINIMA_HD double log(double x) { return std::log(x); }

/// 1/x for x ≥ 1.
MINIMA_HD float inverse(float x) {
#if defined(__CUDA_ARCH__)
  float result;  // but for the last bit
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return 1.0f / x;
#endif
}

/// a / b for b ≥ 1.
MINIMA_HD float quotient(float a, float b) {
#if defined(__CUDA_ARCH__)
  return a * inverse(b);
#else
  return a / b;
#endif
}
MINIMA_HD double quotient(double a, double b) { return a / b; }

/// The normal distribution function Φ(x), given e^(−x²/2), which whoever differentiates it needs
/// anyway. For float Φ(−t) = e^(−t²/2) p(1/(1 + 0.295 t)) for t ≥ 0: relative error below 4 ulp
/// besides that of the given factor.
MINIMA_HD float normal_cdf(float x, float gaussian) {
  const float k = inverse(std::fma(0.295f, std::abs(x), 1.0f));
  const float tail = gaussian * detail::polynomial(k, 1.81296531e-5f, 0.117268584f, 0.121860434f,
                                                   0.0840599467f, 0.168037011f, -0.119817743f,
                                                   0.273616362f, -0.184764514f, 0.0397218048f);
  return x > 0.0f ? 1.0f - tail : tail;
}
MINIMA_HD double normal_cdf(double x, double) { return 0.5 * std::erfc(x * -0.70710678118654752); }

}  // namespace minima::math

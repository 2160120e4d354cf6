/// One source, compiled for each vector unit, chosen when the program runs.
///
///     vectorize([&]() MINIMA_INLINE { for (i64 i = 0; i < n; ++i) y[i] = gelu(x[i]); });
///
/// The loop is instantiated three times, for plain x86-64, AVX2 and AVX-512, and the compiler
/// vectorizes each. All that the loop calls must be always-inline (MINIMA_HD, MINIMA_INLINE), else
/// it stays scalar. Because this is a template, a loop around code that is written outside of this
/// project (an optimizer's rule, say) gets the same three versions. Sources are compiled without
/// contraction to FMA, so the three give the same bits; where a fused multiply-add is meant,
/// `std::fma` says so. Under the address sanitizer the plain loop stands for all three.
#pragma once

#include "core/cpu/threads.hpp"
#include "core/types.hpp"

/// Before a loop whose rounds are independent of one another, though a compiler cannot see that.
#if defined(__clang__)
#define MINIMA_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define MINIMA_INDEPENDENT _Pragma("GCC ivdep")
#endif

/// On a lambda: always inline, so that it takes on the vector unit of the function it is called in.
#define MINIMA_INLINE __attribute__((always_inline))

namespace minima {

enum class VectorUnit { base, avx2, avx512 };

/// The widest unit that the processor has; MINIMA_VECTOR_UNIT=base|avx2|avx512 in the environment
/// lowers it.
VectorUnit vector_unit();
VectorUnit widest_vector_unit();
const char* name(VectorUnit unit);

namespace detail {

template <class F>
void call_base(const F& f) {
  f();
}

#if defined(__x86_64__) && !defined(__CUDACC__)
#if defined(__clang__)  // takes vectors of 512 bits by itself
#define MINIMA_WIDEST
#else
#define MINIMA_WIDEST ",prefer-vector-width=512"
#endif
template <class F>
[[gnu::target("avx2,fma,bmi,bmi2,f16c")]] void call_avx2(const F& f) {
  f();
}
template <class F>
[[gnu::target(
    "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi,bmi2,f16c" MINIMA_WIDEST)]] void
call_avx512(const F& f) {
  f();
}
#endif

}  // namespace detail

template <class F>
void vectorize(const F& f) {
#if defined(__x86_64__) && !defined(__CUDACC__) && !defined(__SANITIZE_ADDRESS__)
  switch (vector_unit()) {
    case VectorUnit::avx512:
      return detail::call_avx512(f);
    case VectorUnit::avx2:
      return detail::call_avx2(f);
    case VectorUnit::base:
      break;
  }
#endif
  detail::call_base(f);
}

/// Numbers in a line of the cache, the unit in which memory is fetched.
template <class T>
inline constexpr i64 kLine = 64 / sizeof(T);

/// How many bytes ahead a loop through memory asks for what it will come to: a page, for by itself a processor fetches ahead
/// within a page at most, and a core that waits at each page's begin does not use all that memory gives. 0, no request, on
/// AMD's family 19h: it disturbs what a Zen 4 fetches by itself (bench/README.md).
extern const std::uintptr_t kFetchDistance;

/// Asks for the line so far behind x. Behind an array's end lines of others, or of nobody, are asked for, which harms nothing.
/// (Not inlined, it would be taken for a call without effect.)
template <class T>
[[gnu::always_inline]] inline void fetch_ahead(const T* x) {
  __builtin_prefetch(
      reinterpret_cast<const char*>(reinterpret_cast<std::uintptr_t>(x) + kFetchDistance));
}

/// f(begin, end) over [0, n), vectorized, in chunks of fixed size on all threads.
template <class F>
void vectorize_parallel(i64 n, const F& f, i64 chunk = 16384) {
  parallel_chunks(n, chunk,
                  [&](i64 begin, i64 end) { vectorize([&]() MINIMA_INLINE { f(begin, end); }); });
}

}  // namespace minima

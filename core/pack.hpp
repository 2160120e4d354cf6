/// Neighbours in memory, read or written at once.
#pragma once

#include <cstdint>

#include "core/error.hpp"
#include "core/types.hpp"

namespace minima {

template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T x[N];

  /// Whether N numbers that begin there can be moved so.
  MINIMA_HD static bool fits(const T* at) {
    return reinterpret_cast<std::uintptr_t>(at) % alignof(Pack) == 0;
  }
  MINIMA_HD static Pack load(const T* at) {
    require(at);
    return *reinterpret_cast<const Pack*>(at);
  }
  MINIMA_HD void store(T* at) const {
    require(at);
    *reinterpret_cast<Pack*>(at) = *this;
  }

 private:
  MINIMA_HD static void require([[maybe_unused]] const T* at) {
#if !defined(__CUDACC__)  // a GPU would stop there
    check(fits(at), "{} bytes at once at an address that is no multiple of it", sizeof(Pack));
#endif
  }
};
template <class T>
using Four = Pack<T, 4>;

}  // namespace minima

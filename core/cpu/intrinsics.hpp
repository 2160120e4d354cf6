/// The intrinsics of x86, where the processor is one.
#pragma once

#if defined(__x86_64__)
// GCC 12's own intrinsics start from an uninitialized register (bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#endif

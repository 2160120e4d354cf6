/// OpenBLAS, loaded for the first product or the first info(), after its kernel has been chosen.
///
/// Older builds do not know newer processors and silently take a kernel of a tenth of the speed.
/// They read OPENBLAS_CORETYPE when they are loaded; so it is set first, from the processor's
/// features, unless the user has set it. MINIMA_BLAS=path names another library (one whose symbols
/// start with `scipy_` works too). Each call computes on one thread: OpenBLAS's results change with
/// its thread count, so the work is split here (core/ops/matmul.hpp).
#pragma once

#include <string>

#include "core/cpu/simd.hpp"
#include "core/types.hpp"

namespace minima::blas {

struct Info {
  std::string library = "none";  ///< the path it was loaded from
  std::string version = "none";  ///< "OpenBLAS 0.3.21 …"
  std::string core = "none";     ///< the kernel it uses: "SkylakeX", "Haswell", "Prescott", …
  bool core_by_user = false;     ///< OPENBLAS_CORETYPE was set before the program started
  bool library_by_user = false;  ///< MINIMA_BLAS was set
};

/// Whether OPENBLAS_CORETYPE or MINIMA_BLAS was set. Loads nothing.
bool chosen_by_user();

/// Throws Error, saying what to install, when no library can be loaded.
const Info& info();

/// The vector unit that the kernel of this name uses; base where the name is not known.
VectorUnit vector_unit_of(const std::string& core);

/// C ← alpha · op(A) op(B) + beta · C on one thread, row-major; op(A) is [m, k], op(B) is [k, n],
/// and an operand that is transposed is stored the other way round. `lda`, `ldb`, `ldc` are the
/// lengths of the stored rows. Throws Error for a size beyond 2³¹ − 1, which the library cannot count.
void sgemm(bool transpose_a, bool transpose_b, i64 m, i64 n, i64 k, float alpha, const float* a,
           i64 lda, const float* b, i64 ldb, float beta, float* c, i64 ldc);

}  // namespace minima::blas

/// Large products of f32 with AVX2 or AVX-512, in blocks that stay in the caches: K. Goto and R. van de Geijn, "Anatomy of
/// High-Performance Matrix Multiplication", ACM TOMS 34 (2008). There they take less time than OpenBLAS's (bench/README.md),
/// which copies both operands, and those of several threads each for itself; here only B is copied, once for all threads,
/// and A where it is transposed.
#pragma once

#include "core/ops/matmul.hpp"

namespace minima::ops {

/// gemm() of core/ops/matmul.hpp. An element's bits depend on a.columns and on its own row and column alone, not on the sizes
/// of the matrices, on threads or on the processor. No size is 0.
void blocked_product(float alpha, const Factor<float>& a, const Factor<float>& b, float beta,
                     float* c, const float* row, const OnTile& behind);

/// The same in blocks of this shape, Avx2Block or Avx512Block (core/ops/product_block.hpp), also where the other is faster.
template <class Block>
void blocked_product_in(float alpha, const Factor<float>& a, const Factor<float>& b, float beta,
                        float* c, const float* row, const OnTile& behind);

}  // namespace minima::ops
